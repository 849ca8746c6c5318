"""Frames on their way to the server and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from keyfpn.detector.detections import Detections
from keyfpn.protocol import keyfpn_pb2 as wire

from .encoder import EncodedFrame


@dataclass(frozen=True)
class Answer:
    """What the server said to one frame.

    Attributes:
        sent: the frame.
        detections: what was found; None where the server refused the frame.
        refusal: why it did; empty otherwise.
        round_trip_ms: from handing the packet to gRPC until the answer.
        server_ms: the server's part of it, waiting included.
    """

    sent: EncodedFrame
    detections: Detections | None
    refusal: str
    round_trip_ms: float
    server_ms: float


class InFlight:
    """Frames that were sent and not answered yet, in the order of sending; shared by the two threads of a call.

    Attributes:
        failure: what ended the frames, where that was an error.
    """

    def __init__(self, frames: Iterable[EncodedFrame], *, limit: int, class_count: int) -> None:
        """Prepare; no frame is pulled yet.

        Args:
            frames: to send.
            limit: how many may be unanswered; one more may be encoded and wait.
            class_count: classes of the model.
        """
        self.failure: BaseException | None = None
        self._frames = iter(frames)
        self._class_count = class_count
        self._room = threading.Semaphore(limit)
        self._pulling, self._changing = threading.Lock(), threading.Lock()
        self._sent: dict[tuple[int, int], tuple[EncodedFrame, float]] = {}
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
        while (frame := self._pull()) is not None:
            self._room.acquire()
            if self._stopped:
                return
            with self._changing:
                self._sent[frame.packet.stream_id, frame.packet.frame_id] = frame, time.perf_counter()
            yield wire.Frame(packet=frame.data)

    def _pull(self) -> EncodedFrame | None:
        with self._pulling:
            if self._stopped:
                return None
            try:
                frame = next(self._frames, None)
            except BaseException as error:  # raised again by whoever reads the answers
                self.failure = error
                return None
            self._exhausted = frame is None
            return frame

    def answer(self, result: wire.FrameResult) -> Answer:
        """Match a result with its frame.

        Raises:
            ValueError: it is no answer to a frame in flight.
        """
        now = time.perf_counter()
        ids = (result.stream_id, result.frame_id)
        with self._changing:
            if ids == (0, 0) and self._sent:  # the server could not read even the ids; it answers in order
                ids = next(iter(self._sent))
            if ids not in self._sent:
                raise ValueError(f"it answered frame {ids[1]} of stream {ids[0]}, which does not wait for an answer")
            frame, sent_at = self._sent.pop(ids)
        self._room.release()
        detected = result.WhichOneof("outcome") == "detections"
        return Answer(
            sent=frame,
            detections=_detections(result.detections, self._class_count) if detected else None,
            refusal="" if detected else result.error.message or "the server gave no reason",
            round_trip_ms=1e3 * (now - sent_at),
            server_ms=result.server_ms,
        )

    def stop(self) -> None:
        """Send nothing more, and wait for the frame that is being encoded, so that no thread is left at work."""
        self._stopped = True
        self._room.release()
        with self._pulling:
            pass


def _detections(message: wire.Detections, class_count: int) -> Detections:
    boxes = np.array(message.boxes, dtype=np.float32)
    scores = np.array(message.scores, dtype=np.float32)
    classes = np.array(message.classes, dtype=np.int64)
    if not len(boxes) == 4 * len(scores) == 4 * len(classes):
        raise ValueError(
            f"expected 4 numbers, a score and a class per box, found {len(boxes)} numbers, {len(scores)} scores and "
            f"{len(classes)} classes"
        )
    if len(classes) and not 0 <= classes.min() <= classes.max() < class_count:
        raise ValueError(f"expected classes from 0 to {class_count - 1}, found {classes.min()} to {classes.max()}")
    return Detections(boxes.reshape(-1, 4), scores, classes)
