"""Fixtures of the edge's tests: pictures, packets, and servers that say what a test tells them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keyfpn.detector.model import Model
from keyfpn.edge.cli import main
from keyfpn.edge.pipeline import EncodedFrame, StageTimes
from keyfpn.protocol.frame import Frame
from keyfpn.protocol.packet import Packet
from tests.commands import Outcome, runner
from tests.conftest import ServerProcess
from tests.edge.fakes import Detect, FakeServer, answer_nothing_found, describe


@pytest.fixture
def edge(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `keyfpn-edge` in this process."""
    return runner(main, capsys)


@pytest.fixture(scope="session")
def start_edge(binaries: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `keyfpn-edge` in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [binaries / "keyfpn-edge", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture(scope="session")
def pictures(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures: `000000000042`, `7` and `portrait`."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(photo).save(folder / "000000000042.png")
    Image.fromarray(photo[:140, 80:]).save(folder / "7.jpg", quality=95)
    Image.fromarray(photo[:, 140:300]).save(folder / "portrait.png")
    return folder


@pytest.fixture
def fake_server(detector_model: Model) -> Iterator[Callable[..., FakeServer]]:
    """Starts servers that a test tells what to say."""
    with ExitStack() as stack:

        def start(detect: Detect = answer_nothing_found, model: Model = detector_model, **says: object) -> FakeServer:
            fake = FakeServer(describe(model, **says), detect)
            running = fake.start()
            stack.callback(lambda: running.stop(None).wait())
            return fake

        yield start


@pytest.fixture
def doomed_server() -> Iterator[ServerProcess]:
    """A server in a process of its own, to be killed."""
    command = [sys.executable, "-m", "tests.edge.fakes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        yield ServerProcess(process, process.stdout.readline().strip())
        process.kill()


@pytest.fixture(scope="session")
def make_packet(detector_model: Model) -> Callable[..., Packet]:
    """Makes packets that carry no level: who streams them need not decode them."""

    def make(
        stream_id: int = 5, frame_id: int = 1, model: Model = detector_model, codec: str = "interpolate"
    ) -> Packet:
        return Packet(
            codec=codec,
            quality=0,
            fingerprint=model.fingerprint,
            stream_id=stream_id,
            frame_id=frame_id,
            capture_time=0,
            image_size=(30, 40),
            network_size=(30, 40),
            chunks=(),
        )

    return make


@pytest.fixture(scope="session")
def encoded_frames(make_packet: Callable[..., Packet]) -> Callable[..., list[EncodedFrame]]:
    """Makes frames with such packets."""

    def make(count: int, stream_id: int = 5) -> list[EncodedFrame]:
        frames = []
        for frame_id in range(1, count + 1):
            packet = make_packet(stream_id, frame_id)
            frame = Frame(f"frame-{frame_id}", frame_id, np.zeros((30, 40, 3), np.uint8))
            frames.append(EncodedFrame(frame, packet, packet.serialize(), 1, StageTimes(0, 0, 0)))
        return frames

    return make
