"""What machines read: the ids of one packet are the same text in the records of every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keyfpn.detector.model import Model
from keyfpn.edge.in_flight import Answer
from keyfpn.edge.pipeline import EncodedFrame, StageTimes
from keyfpn.edge.records import Summary, answer_record
from keyfpn.protocol.messages import Refusal
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import open_encoder
from keyfpn.server.cli import main as server_main
from keyfpn.server.held import HeldModels
from keyfpn.server.observe.lines import JsonLines
from tests.server.services import FakeEngine, boxes, serving

if TYPE_CHECKING:
    from tests.commands import Outcome

Edge = Callable[..., "Outcome"]
STREAM, CODEC = 2**64 - 2, ("--codec", "raw:levels=p5")
"""A stream whose id a JSON number would round."""


@pytest.fixture(autouse=True)
def _a_known_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda bound: STREAM - 1)


def expected_ids(stream: int, frame: int) -> dict[str, str]:
    return {"stream_id": f"{stream:016x}", "frame_id": str(frame)}


def ids_of(record: dict) -> dict[str, object]:
    return {key: record[key] for key in ("stream_id", "frame_id") if key in record}


def test_ids_are_the_same_text_in_every_record(
    edge: Edge, unfitted_model: Model, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = ("--detector", unfitted_model.folder), tmp_path / "packets"
    encoded = edge("encode", pictures, "--out", out, *CODEC, *model, "--json")
    assert encoded.code == 0
    records = {record["name"]: record for record in encoded.records if record["event"] == "frame"}
    expected = {name: expected_ids(STREAM, frame) for name, frame in (("000000000042", 42), ("7", 7), ("portrait", 1))}
    assert {name: ids_of(record) for name, record in records.items()} == expected

    for name, ids in expected.items():
        (inspected,) = edge("inspect", out / f"{name}.kfpn", *model, "--json").records
        assert ids_of(inspected) == ids

    with pytest.raises(SystemExit):
        server_main(["decode", str(out), "--json", *map(str, model)])
    decoded = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {Path(record["packet"]).stem: ids_of(record) for record in decoded} == expected

    engine = FakeEngine(HeldModels([unfitted_model]), lambda frame: boxes(1, unfitted_model.labels))
    with serving(engine, JsonLines()) as service:
        kept = tmp_path / "kept.jsonl"
        sent = edge("send", pictures, "--server", service.address, "--jsonl", kept, *CODEC, *model, "--json")
    assert sent.code == 0
    lines = [*sent.records, *map(json.loads, capsys.readouterr().out.splitlines())]  # the server's are among them
    answered = [record for record in lines if record["event"] == "frame"]
    assert {record["name"]: ids_of(record) for record in answered} == expected
    assert [json.loads(line) for line in kept.read_text().splitlines()] == answered
    (stream,) = [record for record in lines if record["event"] == "stream"]
    assert ids_of(stream) == {"stream_id": f"{STREAM:016x}"}
    assert stream["frames"] == 3

    same = ("codec", "quality", "bytes", "image_size", "network_size")
    for record in (*answered, *decoded):
        name = record.get("name") or Path(record["packet"]).stem
        assert [record[key] for key in same] == [records[name][key] for key in same]


def test_an_answer_has_detections_or_an_error(
    encoded_frames: Callable[..., list[EncodedFrame]], detector_model: Model
) -> None:
    (sent,) = encoded_frames(1, stream_id=2**63)
    found = answer_record(sent, Answer(sent, boxes(2, detector_model.labels), None, 12.3456, 4.5))
    assert ids_of(found) == expected_ids(2**63, 1)
    assert found["detections"] == [{"class": "person", "score": 0.5, "box": [1, 2, 3, 4]}] * 2
    assert (found["round_trip_ms"], found["server_ms"]) == (12.346, 4.5)
    refused = answer_record(sent, Answer(sent, None, Refusal("BadMagic", "no packet"), 1, 1))
    assert ids_of(refused) == ids_of(found)
    assert refused["error"] == "no packet"
    assert "error" not in found
    assert "detections" not in refused
    assert str(answer_record(sent, Answer(sent, None, Refusal("X", ""), 1, 1))["error"]) == "the server gave no reason"


class TestSummary:
    @pytest.fixture
    def summary(self, detector_model: Model) -> Summary:
        return Summary(open_encoder("interpolate:levels=p3+p5", detector_model))

    def frame(self, make_packet: Callable[..., Packet], size: int, duration: float | None = None) -> EncodedFrame:
        from keyfpn.protocol.frame import Frame

        frame = Frame("f", 1, None, duration=duration)  # type: ignore[arg-type]
        return EncodedFrame(frame, make_packet(), bytes(size), 1000, StageTimes(1, 2, 3))

    def test_of_nothing(self, summary: Summary) -> None:
        sums = summary.as_dict(failed=2)
        assert (sums["event"], sums["frames"], sums["failed"]) == ("summary", 0, 2)
        assert sums["codec"] == "interpolate:levels=p3+p5,precision=int8,coder=ans,ranges=model"
        assert sums["levels"]["p3"] == "sent"
        for key in ("mean_bytes", "compression_ratio", "mbit_per_s", "edge_ms_p50", "round_trip_ms_p50"):
            assert sums[key] is None
        json.dumps(sums)

    def test_of_frames(self, summary: Summary, make_packet: Callable[..., Packet]) -> None:
        summary.add(self.frame(make_packet, 100))
        summary.add(self.frame(make_packet, 400, duration=0.1), 20)
        summary.add(self.frame(make_packet, 600, duration=0.1), 40)
        sums = summary.as_dict(failed=0)
        assert (sums["frames"], sums["mean_bytes"]) == (3, pytest.approx(1100 / 3, abs=0.1))
        assert sums["compression_ratio"] == pytest.approx(3000 / 1100, abs=1e-3)
        assert sums["mbit_per_s"] == pytest.approx(8e-6 * 1000 / 0.2)  # of the video's frames alone
        assert (sums["edge_ms_p50"], sums["round_trip_ms_p50"]) == (6, 30)
