"""One stream of frames on the server: unpacked in order, detected, answered."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from time import perf_counter

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.messages import Refusal, write_detections, write_refusal

from .backlog import Arrival
from .engine.base import Engine
from .held import UnpackedFrame, Unpacker

_log = logging.getLogger(__name__)
_SERVER_FAILED = Refusal("InternalError", "the server failed; see its log")


class Stream:
    """What a stream remembers between its frames."""

    def __init__(self, engine: Engine, unpacking: Executor) -> None:
        """Start a stream.

        Args:
            engine: that detects.
            unpacking: where packets are parsed and their symbols decoded, off the event loop.
        """
        self._engine, self._unpacking = engine, unpacking
        self._unpacker = Unpacker(engine.held)

    async def answer(self, arrival: Arrival) -> pb.FrameResult:
        """The result of the stream's next frame; whatever its bytes are, it is a result."""
        result = pb.FrameResult()
        try:
            loop = asyncio.get_running_loop()
            frame = await loop.run_in_executor(self._unpacking, self._unpack, arrival.packet, result)
            found = await self._engine.detect(frame)
            result.detections.CopyFrom(write_detections(found, frame.image_size))
        except ProtocolError as error:
            result.error.CopyFrom(write_refusal(Refusal.of(error)))
        except Exception:
            # Such as memory that ran out. The other frames and streams go on.
            _log.exception("frame %d of stream %d failed", result.frame_id, result.stream_id)
            result.error.CopyFrom(write_refusal(_SERVER_FAILED))
        result.server_ms = 1000 * (perf_counter() - arrival.time)
        return result

    def _unpack(self, data: bytes, result: pb.FrameResult) -> UnpackedFrame:
        packet = self._engine.held.read(data)
        result.stream_id, result.frame_id = packet.stream_id, packet.frame_id  # an error's answer has them too
        return self._unpacker.unpack(packet)
