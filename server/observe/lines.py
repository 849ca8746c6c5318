"""A line on standard output for each event that an operator waits for."""

from __future__ import annotations

from keyfpn.console.records import json_line, stream_id
from keyfpn.console.text import printable

from ..held import HeldModels
from .base import Observer, StreamSummary


class JsonLines(Observer):
    """One JSON object a line; a parent process waits for the first."""

    def listening(self, host: str, port: int, held: HeldModels) -> None:
        models = [
            {
                "name": model.name,
                "fingerprint": model.fingerprint.hex(),
                "codecs": [codec.name for codec in held.codecs(model)],
            }
            for model in held.models.values()
        ]
        print(json_line({"event": "listening", "host": host, "port": port, "models": models}), flush=True)

    def stream_ended(self, summary: StreamSummary) -> None:
        record = {
            "event": "stream",
            "peer": summary.peer,
            "stream_id": stream_id(summary.stream_id),
            "frames": summary.frames,
            "errors": summary.errors,
            "mean_ms": round(summary.mean_ms, 3),
        }
        print(json_line(record), flush=True)


class TextLines(Observer):
    """The same for people."""

    def listening(self, host: str, port: int, held: HeldModels) -> None:
        models = "; ".join(
            f"{model.name} ({model.fingerprint.hex()}, codecs {', '.join(codec.name for codec in held.codecs(model))})"
            for model in held.models.values()
        )
        print(printable(f"listening on {host}:{port}, models {models}"), flush=True)

    def stream_ended(self, summary: StreamSummary) -> None:
        print(
            printable(
                f"stream {stream_id(summary.stream_id)} of {summary.peer} ended: {summary.frames} frames, "
                f"{summary.errors} errors, {summary.mean_ms:.1f} ms per frame"
            ),
            flush=True,
        )
