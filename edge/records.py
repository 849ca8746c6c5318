"""Frames, answers and whole runs as JSON objects, for `--json` and `--jsonl`."""

from __future__ import annotations

from statistics import median
from typing import Any

from keyfpn.console.records import detections_record, packet_record
from keyfpn.reconstruct.codec import Encoder

from .in_flight import Answer
from .pipeline import EncodedFrame


def encoded_record(encoded: EncodedFrame) -> dict[str, Any]:
    """A frame and its packet; times in milliseconds."""
    return {
        "event": "frame",
        "name": encoded.frame.name,
        **packet_record(encoded.packet, len(encoded.data)),
        "compression_ratio": round(encoded.compression_ratio, 3),
        "edge_ms": {stage: round(ms, 3) for stage, ms in vars(encoded.times).items()},
    }


def answer_record(sent: EncodedFrame, answer: Answer) -> dict[str, Any]:
    """As :func:`encoded_record`, with ``detections`` (boxes as x0, y0, x1, y1 in pixels) or ``error``."""
    record = encoded_record(sent)
    record |= {"round_trip_ms": round(answer.round_trip_ms, 3), "server_ms": round(answer.server_ms, 3)}
    if answer.detections is None:
        return record | {"error": str(answer.refusal)}
    return record | {"detections": detections_record(answer.detections)}


class Summary:
    """Sums up a run."""

    def __init__(self, encoder: Encoder) -> None:
        """Start empty."""
        self._encoder = encoder
        self._frames: list[tuple[int, int, float]] = []  # bytes, raw bytes, edge ms
        self._round_trips: list[float] = []
        self._video_bytes, self._video_seconds = 0, 0.0

    def add(self, encoded: EncodedFrame, round_trip_ms: float | None = None) -> None:
        """Count a frame, and its round trip where it made one."""
        self._frames.append((len(encoded.data), encoded.raw_bytes, encoded.times.total))
        if round_trip_ms is not None:
            self._round_trips.append(round_trip_ms)
        if encoded.frame.duration is not None:
            self._video_bytes += len(encoded.data)
            self._video_seconds += encoded.frame.duration

    def as_dict(self, failed: int) -> dict[str, Any]:
        """The sums; None where there is nothing to take a mean of.

        Args:
            failed: how many inputs failed.
        """
        sizes, raw_sizes, edge_ms = zip(*self._frames, strict=True) if self._frames else ((), (), ())
        return {
            "event": "summary",
            "codec": str(self._encoder.settings),
            "levels": self._encoder.codec.provenance(self._encoder.inputs),
            "frames": len(self._frames),
            "failed": failed,
            "mean_bytes": round(sum(sizes) / len(sizes), 1) if sizes else None,
            "compression_ratio": round(sum(raw_sizes) / sum(sizes), 3) if sizes else None,
            "mbit_per_s": round(8e-6 * self._video_bytes / self._video_seconds, 4) if self._video_seconds else None,
            "edge_ms_p50": round(median(edge_ms), 3) if edge_ms else None,
            "round_trip_ms_p50": round(median(self._round_trips), 3) if self._round_trips else None,
        }
