"""Frames on their way to the server and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.errors import InvalidField
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.messages import Refusal, read_detections, read_refusal
from keyfpn.protocol.packet import Packet

from .pipeline import EncodedFrame

Sent = EncodedFrame | Packet
"""What a client sends: a packet, alone or with the frame that it was made of."""
_UNREADABLE = (0, 0)
"""The ids of an answer to a packet whose ids the server could not read; it answers in order."""


@dataclass(frozen=True)
class Answer:
    """What the server said to one frame.

    Attributes:
        sent: what was sent.
        detections: what was found; None where the server refused the frame.
        refusal: why it did; None otherwise.
        round_trip_ms: from handing the packet to gRPC until the answer.
        server_ms: the server's part of it, waiting included.
    """

    sent: Sent
    detections: Detections | None
    refusal: Refusal | None
    round_trip_ms: float
    server_ms: float


class _Unanswered(NamedTuple):
    ids: tuple[int, int]
    sent: Sent
    time: float


class InFlight:
    """Frames that were sent and not answered yet, in the order of sending; shared by the two threads of a call.

    Attributes:
        failure: what ended the frames, where that was an error.
    """

    def __init__(self, frames: Iterable[Sent], *, limit: int, labels: LabelMap, limits: Limits) -> None:
        """Prepare; no frame is pulled yet.

        Args:
            frames: to send.
            limit: how many may be unanswered; one more may be encoded and wait.
            labels: of the model.
            limits: of the server, for packets that are not bytes yet.
        """
        self.failure: BaseException | None = None
        self._frames = iter(frames)
        self._labels, self._limits = labels, limits
        self._room = threading.Semaphore(limit)
        self._pulling, self._changing = threading.Lock(), threading.Lock()
        self._sent: list[_Unanswered] = []  # few: a packet that is sent twice stands here twice
        self._stopped = self._exhausted = False

    @property
    def count(self) -> int:
        """How many frames are unanswered."""
        return len(self._sent)

    @property
    def complete(self) -> bool:
        """Whether every frame was sent and answered."""
        return self._exhausted and not self._sent

    def requests(self) -> Iterator[wire.Frame]:
        """What gRPC iterates over, in a thread of its own."""
        while (pulled := self._pull()) is not None:
            frame, data = pulled
            self._room.acquire()
            if self._stopped:
                return
            packet = frame if isinstance(frame, Packet) else frame.packet
            with self._changing:
                self._sent.append(_Unanswered((packet.stream_id, packet.frame_id), frame, time.perf_counter()))
            yield wire.Frame(packet=data)

    def _pull(self) -> tuple[Sent, bytes] | None:
        with self._pulling:
            if self._stopped:
                return None
            try:
                frame = next(self._frames, None)
                if frame is not None:
                    return frame, frame.serialize(self._limits) if isinstance(frame, Packet) else frame.data
                self._exhausted = True
            except BaseException as error:  # raised again by whoever reads the answers
                self.failure = error
            return None

    def answer(self, result: wire.FrameResult) -> Answer:
        """Match a result with its frame.

        Raises:
            InvalidField: it is no answer to a frame in flight, or its numbers are no detections.
        """
        now = time.perf_counter()
        frame = self._take((result.stream_id, result.frame_id))
        self._room.release()
        detected = result.WhichOneof("outcome") == "detections"
        return Answer(
            sent=frame.sent,
            detections=read_detections(result.detections, self._labels) if detected else None,
            refusal=None if detected else read_refusal(result.error),
            round_trip_ms=1e3 * (now - frame.time),
            server_ms=result.server_ms,
        )

    def _take(self, ids: tuple[int, int]) -> _Unanswered:
        with self._changing:
            for place, frame in enumerate(self._sent):
                if ids in (frame.ids, _UNREADABLE):
                    return self._sent.pop(place)
        raise InvalidField("answer", "one to a frame in flight", f"frame {ids[1]} of stream {ids[0]}")

    def stop(self) -> None:
        """Send nothing more, and wait for the frame that is being encoded, so that no thread is left at work."""
        self._stopped = True
        self._room.release()
        with self._pulling:
            pass
