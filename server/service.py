"""The RPC service of protocol/keyfpn.proto: frames in, results out, many streams at once.

Streams are coroutines (grpc.aio), so that their number is not that of threads, and an edge that sends nothing costs
nothing. Detection runs in a small pool of threads: torch lets go of the GIL, and more threads than cores would only
slow each other down.

    stream ──► Backlog of a few frames ──► one frame per stream in the pool ──► result, in order

The pool is first come, first served, and a stream has one frame there at a time: streams take turns, however fast any
of them sends. A stream with a full backlog is not read any more, and gRPC's flow control holds its edge back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter
from typing import Any

import grpc

from keyfpn.detector.detections import Detections
from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionServicer
from keyfpn.protocol.packet import VERSION
from keyfpn.reconstruct.codec import codec_names

from .backlog import Arrival, Backlog
from .pipeline import DetectionPipeline

_log = logging.getLogger(__name__)


@dataclass
class StreamSummary:
    """What became of a stream."""

    peer: str
    """Address of the edge, as gRPC writes it."""
    stream_id: int = 0
    """From its packets; 0 if none could be read."""
    frames: int = 0
    """Frames that were answered."""
    errors: int = 0
    """Those of them that were answered with an error."""
    total_ms: float = 0.0
    """Sum of the results' `server_ms`."""

    @property
    def mean_ms(self) -> float:
        """Mean time from a frame's arrival to its result, in milliseconds; 0 for no frames."""
        return self.total_ms / self.frames if self.frames else 0.0

    def add(self, result: pb.FrameResult) -> None:
        """Count a result."""
        self.stream_id = self.stream_id or result.stream_id
        self.frames += 1
        self.errors += result.HasField("error")
        self.total_ms += result.server_ms


class DetectionService(DetectionServicer):
    """Answers `Describe` and `Detect`."""

    def __init__(
        self,
        pipeline: DetectionPipeline,
        *,
        workers: int,
        on_stream_end: Callable[[StreamSummary], None] = lambda summary: None,
    ) -> None:
        """Serve a pipeline.

        Args:
            pipeline: what answers frames.
            workers: frames in work at the same time.
            on_stream_end: told of every stream that has ended, for whatever reason.
        """
        self._pipeline = pipeline
        self._pool = ThreadPoolExecutor(workers, "detection")
        self._on_stream_end = on_stream_end
        self._readers: set[asyncio.Task[None]] = set()

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.ServerDescription:  # noqa: N802
        """Tell what the server can decode."""
        return pb.ServerDescription(
            software_version=version("keyfpn"),
            packet_versions=[VERSION],
            max_message_bytes=self._pipeline.limits.max_packet_bytes,
            models=[
                pb.Model(
                    name=model.name, fingerprint=fingerprint, codecs=codec_names(model), class_names=model.class_names
                )
                for fingerprint, model in self._pipeline.models.items()
            ],
        )

    async def Detect(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.FrameResult]:  # noqa: N802
        """Answer the frames of one stream, in their order."""
        summary = StreamSummary(context.peer())
        backlog = Backlog()
        reader = asyncio.create_task(_receive(request_iterator, backlog))
        reader.add_done_callback(lambda _: backlog.close())
        self._readers.add(reader)
        try:
            while (arrival := await backlog.next()) is not None:
                result = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, arrival)
                backlog.answered(arrival)
                summary.add(result)
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
            self._on_stream_end(summary)

    def drain(self) -> None:
        """Read no more frames: every stream answers those it has received, and ends."""
        for reader in self._readers:
            reader.cancel()

    def _answer(self, arrival: Arrival) -> pb.FrameResult:
        """The result of one frame; whatever the bytes are, it is a result."""
        result = pb.FrameResult()
        try:
            packet = self._pipeline.read(arrival.packet)
            result.stream_id, result.frame_id = packet.stream_id, packet.frame_id
            result.detections.CopyFrom(_to_message(self._pipeline.detect(packet), packet.image_size))
        except ProtocolError as error:
            result.error.CopyFrom(_to_error(error))
        except Exception:
            # Such as memory that ran out. The other frames and streams are none the worse for it.
            _log.exception("frame %d of stream %d failed", result.frame_id, result.stream_id)
            result.error.CopyFrom(pb.FrameError(kind="InternalError", message="the server failed; see its log"))
        result.server_ms = 1000 * (perf_counter() - arrival.time)
        return result


async def _receive(frames: AsyncIterator[pb.Frame], backlog: Backlog) -> None:
    async for frame in frames:
        backlog.add(frame.packet)
        del frame  # it holds the packet a second time
        await backlog.room()


def _to_message(found: Detections, image_size: tuple[int, int]) -> pb.Detections:
    return pb.Detections(
        boxes=found.boxes.ravel(),
        scores=found.scores,
        classes=found.classes,
        height=image_size[0],
        width=image_size[1],
    )


def _to_error(error: ProtocolError) -> pb.FrameError:
    return pb.FrameError(
        kind=type(error).__name__, message=str(error), expected=str(error.expected), found=str(error.found)
    )
