"""The real service with a stand-in for what computes: in this process, without a network of any detector."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import grpc
import numpy as np

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionStub, add_DetectionServicer_to_server
from keyfpn.protocol.packet import Packet
from keyfpn.server.engine.base import Engine
from keyfpn.server.held import HeldModels, UnpackedFrame
from keyfpn.server.observe.base import Observer, StreamSummary
from keyfpn.server.service import DetectionService


def nothing(frame: UnpackedFrame) -> Detections:
    return boxes(0)


def boxes(count: int, labels: LabelMap | None = None) -> Detections:
    """So many boxes: what a stand-in for a network can count with."""
    corners = np.tile(np.float32([1, 2, 3, 4]), (count, 1))
    found = Detections(corners, np.full(count, 0.5, np.float32), np.zeros(count, np.int64))
    return replace(found, label_map=labels) if labels else found


class FakeEngine(Engine):
    """Keeps the frames that it is given, and finds what a test says."""

    def __init__(self, held: HeldModels, find: Callable[[UnpackedFrame], Detections] = nothing) -> None:
        self.held, self._find = held, find
        self.frames: list[UnpackedFrame] = []
        self.closed = False

    async def detect(self, frame: UnpackedFrame) -> Detections:
        self.frames.append(frame)
        return self._find(frame)

    def close(self) -> None:
        self.closed = True


@dataclass
class Diary(Observer):
    """Writes down what it is told."""

    events: list[tuple[str, object]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def listening(self, host: str, port: int, held: HeldModels) -> None:
        self.events.append(("listening", (host, port)))

    def stream_started(self, peer: str) -> None:
        self.events.append(("started", peer))

    def frame_answered(self, result: pb.FrameResult) -> None:
        self.events.append(("answered", (result.frame_id, result.error.kind)))

    def stream_ended(self, summary: StreamSummary) -> None:
        self.events.append(("ended", replace(summary)))
        self.ended.set()


@dataclass
class Serving:
    """A service that is listening in a thread of its own."""

    address: str
    service: DetectionService
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event

    @contextmanager
    def connect(self) -> Iterator[DetectionStub]:
        with grpc.insecure_channel(self.address) as channel:
            yield DetectionStub(channel)

    def detect(self, packets: Sequence[Packet | bytes]) -> list[pb.FrameResult]:
        """The results of one stream."""
        frames = [pb.Frame(packet=one if isinstance(one, bytes) else one.serialize()) for one in packets]
        with self.connect() as stub:
            return list(stub.Detect(iter(frames), timeout=60))

    def drain(self) -> None:
        self.loop.call_soon_threadsafe(self.service.drain)


@contextmanager
def serving(engine: Engine, observer: Observer | None = None, *, workers: int = 1) -> Iterator[Serving]:
    """Serve an engine while the block lasts."""
    listening: Future[Serving] = Future()

    async def run() -> None:
        service = DetectionService(engine, observer=observer or Observer(), workers=workers)
        server = grpc.aio.server()
        add_DetectionServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop = asyncio.Event()
        listening.set_result(Serving(f"127.0.0.1:{port}", service, asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    here = listening.result(timeout=30)
    try:
        yield here
    finally:
        here.loop.call_soon_threadsafe(here.stop.set)
        thread.join()
