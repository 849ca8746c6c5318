from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.console.records import detections_record, frame_id, json_line, packet_record, stream_id
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.packet import Packet

U64 = st.integers(0, 2**64 - 1)


@given(U64, U64)
def test_ids_are_text_that_no_reader_rounds(stream: int, frame: int) -> None:
    assert (int(stream_id(stream), 16), int(frame_id(frame))) == (stream, frame)
    assert len(stream_id(stream)) == 16
    assert json.loads(json_line({"id": stream_id(stream)}))["id"] == stream_id(stream)


def test_ids_look_as_in_file_names() -> None:
    assert stream_id(0xAB) == "00000000000000ab"
    assert frame_id(42) == "42"


@given(st.text(st.characters(exclude_categories=())))
def test_a_record_is_one_line_of_ascii(text: str) -> None:
    line = json_line({"name": text, "størrelse": 1})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"name": text, "størrelse": 1}


def test_what_every_record_tells_of_a_packet() -> None:
    packet = Packet(
        codec="learned",
        quality=3,
        fingerprint=bytes(8),
        stream_id=2**64 - 1,
        frame_id=2**63,
        capture_time=5,
        image_size=(480, 640),
        network_size=(384, 512),
        chunks=(),
    )
    record = packet_record(packet, 1234)
    assert record == {
        "stream_id": "ffffffffffffffff",
        "frame_id": "9223372036854775808",
        "codec": "learned",
        "quality": 3,
        "bytes": 1234,
        "image_size": [480, 640],
        "network_size": [384, 512],
    }
    assert json.loads(json_line(record)) == record


def test_what_a_record_tells_of_objects() -> None:
    boxes = np.array([[1, 2, 3.5, 4], [0, 0, 0, 0]], np.float32)
    found = Detections(boxes, np.array([0.5, 0.25], np.float32), np.array([1, 7]), LabelMap(("cat", "dog"), (17, 18)))
    record = detections_record(found)
    assert record == [
        {"class": "dog", "score": 0.5, "box": [1.0, 2.0, 3.5, 4.0]},
        {"class": "class 7", "score": 0.25, "box": [0.0, 0.0, 0.0, 0.0]},
    ]
    assert json.loads(json_line({"detections": record}))["detections"] == record
