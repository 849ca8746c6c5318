"""Values to messages of `keyfpn.proto`, and back: both directions side by side."""

from dataclasses import dataclass

import numpy as np

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.errors import InvalidField, ProtocolError

_LONG = 1 << 21
FRAME_OVERHEAD = pb.Frame(packet=bytes(_LONG)).ByteSize() - _LONG
"""Bytes that a `Frame` message adds to its packet, at most: the field's tag, and the length of a long packet."""


@dataclass(frozen=True)
class Refusal:
    """Why a frame has no detections.

    Attributes:
        kind: the name of the server's error, such as "ChecksumMismatch".
        message: the whole text, for a person.
        expected: what the server asked for; may be empty.
        found: what it found instead; may be empty.
    """

    kind: str
    message: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        return self.message or "the server gave no reason"

    @classmethod
    def of(cls, error: ProtocolError) -> "Refusal":
        """What the server says of an error in a frame."""
        return cls(type(error).__name__, str(error), str(error.expected), str(error.found))


def write_refusal(refusal: Refusal) -> pb.FrameError:
    """The message of a refusal."""
    return pb.FrameError(kind=refusal.kind, message=refusal.message, expected=refusal.expected, found=refusal.found)


def read_refusal(message: pb.FrameError) -> Refusal:
    """The refusal of a message."""
    return Refusal(message.kind, message.message, message.expected, message.found)


def write_detections(found: Detections, image_size: tuple[int, int]) -> pb.Detections:
    """The message of the boxes of a picture of (height, width) pixels."""
    height, width = image_size
    return pb.Detections(
        boxes=found.boxes.ravel(), scores=found.scores, classes=found.classes, height=height, width=width
    )


def read_detections(message: pb.Detections, label_map: LabelMap) -> Detections:
    """The boxes of a message.

    Args:
        message: as it came from a server.
        label_map: of the model; a class index that it does not have is refused.

    Raises:
        InvalidField: numbers that are no boxes, scores and classes of this model.
    """
    boxes = np.array(message.boxes, dtype=np.float32)
    scores = np.array(message.scores, dtype=np.float32)
    classes = np.array(message.classes, dtype=np.int64)
    if not len(boxes) == 4 * len(scores) == 4 * len(classes):
        found = f"{len(boxes)} numbers, {len(scores)} scores and {len(classes)} classes"
        raise InvalidField("detections", "4 numbers, a score and a class per box", found)
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(label_map):
        found = f"{classes.min()} to {classes.max()}"
        raise InvalidField("classes of detections", f"0 to {len(label_map) - 1}", found)
    return Detections(boxes.reshape(-1, 4), scores, classes, label_map)
