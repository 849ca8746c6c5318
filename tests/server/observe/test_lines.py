from __future__ import annotations

import json

import pytest

from keyfpn.detector.model import Model
from keyfpn.reconstruct.codec import codec_names
from keyfpn.server import report
from keyfpn.server.service import StreamSummary

SUMMARY = StreamSummary(peer="ipv4:10.0.0.7:4711", stream_id=0xAB, frames=4, errors=1, total_ms=50.0)


def test_text(detector_model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    text = report.choose(as_json=False)
    text.listening("127.0.0.1", 50051, [detector_model])
    text.stream_ended(SUMMARY)
    listening, ended = capsys.readouterr().out.splitlines()
    assert listening == (
        f"listening on 127.0.0.1:50051, models {detector_model.name} ({detector_model.fingerprint.hex()}, "
        f"codecs {', '.join(codec_names(detector_model))})"
    )
    assert ended == "stream 00000000000000ab of ipv4:10.0.0.7:4711 ended: 4 frames, 1 errors, 12.5 ms per frame"


def test_json(detector_model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    lines = report.choose(as_json=True)
    lines.listening("127.0.0.1", 50051, [detector_model])
    lines.stream_ended(SUMMARY)
    listening, ended = map(json.loads, capsys.readouterr().out.splitlines())
    assert (listening["event"], listening["host"], listening["port"]) == ("listening", "127.0.0.1", 50051)
    assert listening["models"][0]["fingerprint"] == detector_model.fingerprint.hex()
    assert ended == {
        "event": "stream",
        "peer": "ipv4:10.0.0.7:4711",
        "stream_id": "00000000000000ab",
        "frames": 4,
        "errors": 1,
        "mean_ms": 12.5,
    }
