"""The lines that an operator waits for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.server.held import HeldModels
from keyfpn.server.observe.base import Observer, StreamSummary
from keyfpn.server.observe.lines import JsonLines, TextLines

SUMMARY = StreamSummary(peer="ipv4:10.0.0.7:4711", stream_id=0xAB, frames=4, errors=1, total_ms=50.0)


def codecs(held: HeldModels, model: Model) -> list[str]:
    names = [codec.name for codec in held.codecs(model)]
    assert {"raw", "interpolate", "learned"} <= set(names)
    return names


def test_text(held: HeldModels, detector_model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    text = TextLines()
    text.listening("127.0.0.1", 50051, held)
    text.stream_ended(SUMMARY)
    listening, ended = capsys.readouterr().out.splitlines()
    assert listening == (
        f"listening on 127.0.0.1:50051, models {detector_model.name} ({detector_model.fingerprint.hex()}, "
        f"codecs {', '.join(codecs(held, detector_model))})"
    )
    assert ended == "stream 00000000000000ab of ipv4:10.0.0.7:4711 ended: 4 frames, 1 errors, 12.5 ms per frame"


def test_text_names_every_model(
    detector_model: Model, unfitted_model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = replace(unfitted_model, name="a\x1b[2Jb")
    TextLines().listening("::1", 1, HeldModels([detector_model, hostile]))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"listening on ::1:1, models {detector_model.name} (")
    assert line.endswith(rf"; a\x1b[2Jb ({hostile.fingerprint.hex()}, codecs interpolate, raw)")


def test_json(held: HeldModels, detector_model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonLines()
    lines.listening("127.0.0.1", 50051, held)
    lines.stream_ended(SUMMARY)
    listening, ended = map(json.loads, capsys.readouterr().out.splitlines())
    assert (listening["event"], listening["host"], listening["port"]) == ("listening", "127.0.0.1", 50051)
    (model,) = listening["models"]
    assert model == {
        "name": detector_model.name,
        "fingerprint": detector_model.fingerprint.hex(),
        "codecs": codecs(held, detector_model),
    }
    assert ended == {
        "event": "stream",
        "peer": "ipv4:10.0.0.7:4711",
        "stream_id": "00000000000000ab",
        "frames": 4,
        "errors": 1,
        "mean_ms": 12.5,
    }


@pytest.mark.parametrize("observer", [Observer(), JsonLines(), TextLines()])
def test_the_beginning_of_a_stream_and_its_frames_print_nothing(
    observer: Observer, capsys: pytest.CaptureFixture[str]
) -> None:
    observer.stream_started("ipv4:10.0.0.7:4711")
    observer.frame_answered(pb.FrameResult(frame_id=1))
    assert capsys.readouterr().out == ""


class TestSummary:
    def test_counts_frames_errors_and_their_time(self) -> None:
        summary = StreamSummary("peer")
        assert (summary.frames, summary.mean_ms) == (0, 0)
        summary.add(pb.FrameResult(error=pb.FrameError(kind="BadMagic"), server_ms=1))
        assert (summary.stream_id, summary.frames, summary.errors) == (0, 1, 1)
        summary.add(pb.FrameResult(stream_id=5, detections=pb.Detections(), server_ms=3))
        summary.add(pb.FrameResult(error=pb.FrameError(), server_ms=2))
        assert (summary.stream_id, summary.frames, summary.errors) == (5, 3, 2)
        assert summary.mean_ms == pytest.approx(2)
