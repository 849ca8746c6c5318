"""What people see: one line per frame, a summary, tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from keyfpn.console.progress import output
from keyfpn.detector.model import Model
from keyfpn.edge.display import ANSWER_HEADING, answer_line, fields_table, levels_lines, summary_line
from keyfpn.edge.in_flight import Answer
from keyfpn.edge.inspection import Inspection
from keyfpn.edge.pipeline import EncodedFrame
from keyfpn.protocol.detections import Detections, LabelMap
from keyfpn.protocol.messages import Refusal
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import open_encoder

MakeFrames = Callable[..., list[EncodedFrame]]


def found(*names: str) -> Detections:
    count = len(names)
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32) if count else np.zeros(0, np.float32)
    labels = LabelMap(names, tuple(range(count)))
    return Detections(np.zeros((count, 4), np.float32), scores, np.arange(count), labels)


def test_a_line_per_answer_stands_under_the_heading(encoded_frames: MakeFrames) -> None:
    (sent,) = encoded_frames(1)
    line = answer_line(sent, Answer(sent, found("person", "dog", "kite", "car"), None, 12.34, 5))
    assert line == (
        f"{'frame-1':<24} {'4':>5} {len(sent.data):>11,} {'0.019':>9} {'0.0':>8} {'12.3':>8}  "
        "person 0.90, dog 0.63, kite 0.37"
    )
    places = [ANSWER_HEADING.index(heading) + len(heading) for heading in ("boxes", "bytes", "edge ms", "trip ms")]
    assert [line[:place].rpartition(" ")[2] for place in places] == ["4", str(len(sent.data)), "0.0", "12.3"]


def test_nothing_found_and_refused(encoded_frames: MakeFrames) -> None:
    (sent,) = encoded_frames(1)
    assert answer_line(sent, Answer(sent, found(), None, 1, 1)).split()[:2] == ["frame-1", "0"]
    refused = answer_line(sent, Answer(sent, None, Refusal("BadMagic", "no packet"), 1, 1))
    assert (refused.split()[1], refused.split()[-1]) == ("-", "refused")


def test_names_of_frames_and_classes_are_printed_as_text(encoded_frames: MakeFrames) -> None:
    (sent,) = encoded_frames(1)
    sent = replace(sent, frame=replace(sent.frame, name="a\x1b[2Jb\nc"))
    line = answer_line(sent, Answer(sent, found("do\x1b[31mg"), None, 1, 1))
    assert line.isprintable()
    assert line.startswith(r"a\x1b[2Jb\nc ")
    assert line.endswith(r"do\x1b[31mg 0.90")


def test_how_each_level_gets_to_the_server(detector_model: Model) -> None:
    assert levels_lines(open_encoder("raw:levels=p3+p5,precision=fp16", detector_model)).splitlines() == [
        "codec raw:levels=p3+p5,precision=fp16,coder=store",
        "  p2: not sent: zeros",
        "  p3: sent",
        "  p4: not sent: zeros",
        "  p5: sent",
        "  p6: exact from p5 (max-pool, kernel 1, stride 2)",
    ]


SUMS = {
    "frames": 3,
    "failed": 0,
    "mean_bytes": 12345.6,
    "compression_ratio": 123.456,
    "mbit_per_s": None,
    "edge_ms_p50": 20.04,
    "round_trip_ms_p50": None,
}


@pytest.mark.parametrize(
    ("sums", "line"),
    [
        ({}, "3 frames; 12,346 bytes each; compression ratio 123; p50 20.0 ms on the edge"),
        ({"frames": 0, "failed": 2}, "0 frames; 2 failed"),
        (
            {"failed": 1, "mbit_per_s": 0.98765, "round_trip_ms_p50": 40},
            "3 frames; 1 failed; 12,346 bytes each; compression ratio 123; 0.988 Mbit/s; p50 20.0 ms on the edge; "
            "p50 40.0 ms round trip",
        ),
    ],
)
def test_a_run_in_one_line(sums: dict[str, object], line: str) -> None:
    assert summary_line({**SUMS, **sums}) == line


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [
        (0, "1970-01-01 00:00:00.000+00:00"),
        (1_700_000_000_123_456, "2023-11-14 22:13:20.123+00:00"),
        (2**64 - 1, "18446744073709551615 microseconds after 1970"),
    ],
)
def test_a_time_within_the_calendar_and_beyond(
    make_packet: Callable[..., Packet], capsys: pytest.CaptureFixture[str], microseconds: int, shown: str
) -> None:
    packet = replace(make_packet(stream_id=2**64 - 1, frame_id=7), capture_time=microseconds)
    output().print(fields_table("a.kfpn", Inspection(packet, 53, None, None, ())))
    printed = capsys.readouterr().out
    assert shown in printed
    assert "ffffffffffffffff, 7" in printed
    assert "compression ratio" not in printed
