"""Servers that say of themselves, and answer, what a test tells them; as a program one that a test can kill.

A real server in its place would cost seconds, and an edge could not tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc

from keyfpn.detector.model import Model, open_model
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionServicer, add_DetectionServicer_to_server
from keyfpn.protocol.packet import VERSION, Packet
from keyfpn.reconstruct.registry import decodable_codecs

Detect = Callable[[Iterable[wire.Frame]], Iterable[wire.FrameResult]]


def answer_nothing_found(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
    for frame in frames:
        packet = Packet.parse(frame.packet)
        found = wire.Detections(height=packet.image_size[0], width=packet.image_size[1])
        yield wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, detections=found)


def describe(model: Model, **says: object) -> wire.ServerDescription:
    """What a server of one model says of itself, less what ``says`` has."""
    codecs = [codec.name for codec in decodable_codecs(model)]
    held = wire.Model(name=model.name, fingerprint=model.fingerprint, codecs=codecs)
    default = {"packet_versions": [VERSION], "max_message_bytes": 20 << 20, "models": [held]}
    return wire.ServerDescription(**{**default, **says})


@dataclass
class FakeServer(DetectionServicer):
    """Describes itself, and answers frames, as it was told; keeps what it received."""

    description: wire.ServerDescription
    detect: Detect
    received: list[wire.Frame] = field(default_factory=list)
    address: str = ""

    def start(self) -> grpc.Server:
        """Listen on a free port."""
        options = [("grpc.max_receive_message_length", 20 << 20)]
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
        add_DetectionServicer_to_server(self, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        return server

    def Describe(self, request: wire.DescribeRequest, context: object) -> wire.ServerDescription:  # noqa: N802
        return self.description

    def Detect(self, request_iterator: Iterator[wire.Frame], context: object) -> Iterable[wire.FrameResult]:  # noqa: N802
        return self.detect(self._kept(request_iterator))

    def _kept(self, frames: Iterable[wire.Frame]) -> Iterator[wire.Frame]:
        for frame in frames:
            self.received.append(frame)
            yield frame


if __name__ == "__main__":
    fake = FakeServer(describe(open_model()), answer_nothing_found)
    running = fake.start()
    print(fake.address, flush=True)
    running.wait_for_termination()
