"""The RPC service of protocol/keyfpn.proto: frames in, results out, many streams at once.

Streams are coroutines (grpc.aio), so that their number is not that of threads, and an edge that sends nothing costs
nothing. Packets are unpacked in a few threads here, detection is the engine's.

    stream ──► Backlog of a few frames ──► Stream: unpack ──► Engine ──► result, in order

A stream has one frame in work at a time: streams take turns, however fast any of them sends. A stream with a full
backlog is not read any more, and gRPC's flow control holds its edge back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import grpc

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionServicer
from keyfpn.protocol.packet import VERSION

from .backlog import Backlog
from .engine.base import Engine
from .observe.base import Observer, StreamSummary
from .stream import Stream


class DetectionService(DetectionServicer):
    """Answers `Describe` and `Detect`."""

    def __init__(self, engine: Engine, *, observer: Observer, workers: int) -> None:
        """Serve an engine.

        Args:
            engine: what answers unpacked frames.
            observer: told of every stream.
            workers: packets that are unpacked at the same time.
        """
        self._engine, self._observer = engine, observer
        self._unpacking = ThreadPoolExecutor(workers, "unpacking")
        self._readers: set[asyncio.Task[None]] = set()

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.ServerDescription:  # noqa: N802
        """Tell what the server can decode."""
        held = self._engine.held
        return pb.ServerDescription(
            software_version=version("keyfpn"),
            packet_versions=[VERSION],
            max_message_bytes=held.limits.max_packet_bytes,
            models=[
                pb.Model(
                    name=model.name,
                    fingerprint=fingerprint,
                    codecs=[codec.name for codec in held.codecs(model)],
                    class_names=model.labels.names,
                )
                for fingerprint, model in held.models.items()
            ],
        )

    async def Detect(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.FrameResult]:  # noqa: N802
        """Answer the frames of one stream, in their order."""
        summary = StreamSummary(context.peer())
        self._observer.stream_started(summary.peer)
        stream, backlog = Stream(self._engine, self._unpacking), Backlog()
        reader = asyncio.create_task(_receive(request_iterator, backlog))
        reader.add_done_callback(lambda _: backlog.close())
        self._readers.add(reader)
        try:
            while (arrival := await backlog.next()) is not None:
                result = await stream.answer(arrival)
                backlog.answered(arrival)
                summary.add(result)
                self._observer.frame_answered(result)
                yield result
            if reader.cancelled():
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE,
                    "the server is shutting down; frames without a result were not looked at: send them again later",
                )
            reader.result()
        finally:
            reader.cancel()
            self._readers.discard(reader)
            self._observer.stream_ended(summary)

    def drain(self) -> None:
        """Read no more frames: every stream answers those it has received, and ends."""
        for reader in self._readers:
            reader.cancel()


async def _receive(frames: AsyncIterator[pb.Frame], backlog: Backlog) -> None:
    async for frame in frames:
        backlog.add(frame.packet)
        del frame  # it holds the packet a second time
        await backlog.room()
