"""Values survive their messages; messages that are no such values are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.errors import ChecksumMismatch, InvalidField
from keyfpn.protocol.messages import (
    FRAME_OVERHEAD,
    Refusal,
    read_detections,
    read_refusal,
    write_detections,
    write_refusal,
)

LABELS = LabelMap(("person", "dog", "cat"), (1, 18, 17))
FLOATS = st.floats(-1e6, 1e6, width=32)


@st.composite
def some_detections(draw: st.DrawFn) -> Detections:
    count = draw(st.integers(0, 20))
    return Detections(
        draw(npst.arrays(np.float32, (count, 4), elements=FLOATS)),
        draw(npst.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        draw(npst.arrays(np.int64, count, elements=st.integers(0, 2))),
        LABELS,
    )


@given(some_detections(), st.tuples(st.integers(1, 65535), st.integers(1, 65535)))
def test_detections_survive(found: Detections, size: tuple[int, int]) -> None:
    message = pb.Detections.FromString(write_detections(found, size).SerializeToString())
    assert (message.height, message.width) == size
    back = read_detections(message, LABELS)
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
        assert getattr(back, name).dtype == getattr(found, name).dtype
    assert back.label_map is LABELS


@given(st.builds(Refusal, st.text(), st.text(), st.text(), st.text()))
def test_refusals_survive(refusal: Refusal) -> None:
    assert read_refusal(pb.FrameError.FromString(write_refusal(refusal).SerializeToString())) == refusal


def test_a_refusal_says_what_the_error_says() -> None:
    refusal = Refusal.of(ChecksumMismatch("CRC-32C", "0x1", "0x2", "Send it again."))
    assert refusal == Refusal("ChecksumMismatch", "CRC-32C: expected 0x1, found 0x2. Send it again.", "0x1", "0x2")
    assert str(refusal) == refusal.message
    assert str(Refusal("", "")) == "the server gave no reason"


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "fault"),
    [
        (5, 1, 1, "5 numbers, 1 scores and 1 classes"),
        (4, 2, 1, "4 numbers, 2 scores and 1 classes"),
        (4, 1, 2, "4 numbers, 1 scores and 2 classes"),
        (0, 0, 1, "0 numbers, 0 scores and 1 classes"),
    ],
)
def test_counts_that_do_not_go_together(boxes: int, scores: int, classes: int, fault: str) -> None:
    message = pb.Detections(boxes=[0] * boxes, scores=[0] * scores, classes=[0] * classes)
    with pytest.raises(InvalidField, match=f"detections: expected 4 numbers, .*, found {fault}"):
        read_detections(message, LABELS)


@pytest.mark.parametrize("label", [-1, 3])
def test_classes_that_the_model_does_not_have(label: int) -> None:
    message = pb.Detections(boxes=[0] * 8, scores=[0, 0], classes=[1, label])
    with pytest.raises(InvalidField, match="classes of detections: expected 0 to 2, found"):
        read_detections(message, LABELS)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 1 << 14, 1 << 21, 20 << 20])
def test_what_a_message_adds_to_a_packet(size: int) -> None:
    assert pb.Frame(packet=bytes(size)).ByteSize() - size <= FRAME_OVERHEAD
