"""Fixtures of the edge's tests: pictures, packets, and servers that say what a test tells them."""

from __future__ import annotations

import json
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
from keyfpn.edge.pipeline import EncodedFrame, StageTimes
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.frame import Frame
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionServicer, add_DetectionServicer_to_server
from keyfpn.protocol.packet import VERSION, Packet
from keyfpn.reconstruct.registry import decodable_codecs


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
def pictures(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures: `000000000042`, `7` and `portrait`."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(photo).save(folder / "000000000042.png")
    Image.fromarray(photo[:140, 80:]).save(folder / "7.jpg", quality=95)
    Image.fromarray(photo[:, 140:300]).save(folder / "portrait.png")
    return folder


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

        def start(detect: Detect = answer_nothing_found, model: Model = detector_model, **says: object) -> FakeServer:
            codecs = [codec.name for codec in decodable_codecs(model)]
            held = wire.Model(name=model.name, fingerprint=model.fingerprint, codecs=codecs)
            default = {"packet_versions": [VERSION], "max_message_bytes": 20 << 20, "models": [held]}
            fake = FakeServer(wire.ServerDescription(**{**default, **says}), detect)
            running = grpc.server(
                futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", 20 << 20)]
            )
            add_DetectionServicer_to_server(fake, running)
            fake.address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
            running.start()
            stack.callback(lambda: running.stop(None).wait())
            return fake

        yield start


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
