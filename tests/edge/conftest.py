"""Fixtures of the edge's tests: pictures, the real server process, and servers that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from keyfpn.detector.model import Model
from keyfpn.edge.cli import main
from keyfpn.edge.encoder import EncodedFrame, StageTimes
from keyfpn.edge.sources import Frame
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionServicer, add_DetectionServicer_to_server
from keyfpn.protocol.packet import VERSION, Packet
from keyfpn.reconstruct.codec import codec_names


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def edge(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `keyfpn-edge` in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def binaries() -> Path:
    """Where the console scripts are installed."""
    return Path(sys.executable).parent


@pytest.fixture(scope="session")
def pictures(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures: `000000000042`, `7` and `portrait`."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(photo).save(folder / "000000000042.png")
    Image.fromarray(photo[:140, 80:]).save(folder / "7.jpg", quality=95)
    Image.fromarray(photo[:, 140:300]).save(folder / "portrait.png")
    return folder


@dataclass(frozen=True)
class ServerProcess:
    process: subprocess.Popen[str]
    address: str


def start_server(binaries: Path) -> ServerProcess:
    command = [binaries / "keyfpn-server", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    event = json.loads(process.stdout.readline())
    return ServerProcess(process, f"{event['host']}:{event['port']}")


@pytest.fixture(scope="session")
def server(binaries: Path) -> Iterator[str]:
    """The address of a real `keyfpn-server serve`."""
    started = start_server(binaries)
    yield started.address
    started.process.terminate()
    started.process.wait(timeout=30)


@pytest.fixture
def doomed_server(binaries: Path) -> Iterator[ServerProcess]:
    """A real `keyfpn-server serve`, to be killed."""
    started = start_server(binaries)
    yield started
    started.process.kill()
    started.process.wait(timeout=30)


Detect = Callable[[Iterable[wire.Frame]], Iterable[wire.FrameResult]]


def answer_nothing_found(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
    for frame in frames:
        yield nothing_found(frame)


def nothing_found(frame: wire.Frame) -> wire.FrameResult:
    packet = Packet.parse(frame.packet)
    found = wire.Detections(height=packet.image_size[0], width=packet.image_size[1])
    return wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, detections=found)


@dataclass
class FakeServer(DetectionServicer):
    """Says of itself, and answers frames, as a test tells it; keeps what it received."""

    description: wire.ServerDescription
    detect: Detect
    received: list[wire.Frame] = field(default_factory=list)
    address: str = ""

    def Describe(self, request: wire.DescribeRequest, context: object) -> wire.ServerDescription:  # noqa: N802
        return self.description

    def Detect(self, request_iterator: Iterator[wire.Frame], context: object) -> Iterable[wire.FrameResult]:  # noqa: N802
        return self.detect(self._kept(request_iterator))

    def _kept(self, frames: Iterable[wire.Frame]) -> Iterator[wire.Frame]:
        for frame in frames:
            self.received.append(frame)
            yield frame


@pytest.fixture
def fake_server(detector_model: Model) -> Iterator[Callable[..., FakeServer]]:
    """Starts servers that a test tells what to say."""
    with ExitStack() as stack:

        def start(detect: Detect = answer_nothing_found, **description: object) -> FakeServer:
            held = wire.Model(
                name=detector_model.name,
                fingerprint=detector_model.fingerprint,
                codecs=codec_names(detector_model),
            )
            default = {"packet_versions": [VERSION], "max_message_bytes": 20 << 20, "models": [held]}
            fake = FakeServer(wire.ServerDescription(**{**default, **description}), detect)
            running = grpc.server(
                futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", 20 << 20)]
            )
            add_DetectionServicer_to_server(fake, running)
            fake.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
            running.start()
            stack.callback(lambda: running.stop(None).wait())
            return fake

        yield start


@pytest.fixture
def encoded_frames(detector_model: Model) -> Callable[..., list[EncodedFrame]]:
    """Makes frames with packets that carry no level: what the client streams need not decode."""

    def make(count: int, stream_id: int = 5) -> list[EncodedFrame]:
        frames = []
        for frame_id in range(1, count + 1):
            packet = Packet(
                codec="interpolate",
                quality=0,
                fingerprint=detector_model.fingerprint,
                stream_id=stream_id,
                frame_id=frame_id,
                capture_time=0,
                image_size=(30, 40),
                network_size=(30, 40),
                chunks=(),
            )
            frame = Frame(f"frame-{frame_id}", frame_id, np.zeros((30, 40, 3), np.uint8), 0)
            frames.append(EncodedFrame(frame, packet, packet.serialize(), 1, StageTimes(0, 0, 0)))
        return frames

    return make
