"""What the commands print: lines and tables for people, or JSON Lines for machines. Errors go to stderr either way."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from keyfpn.detector.model import DetectorModel
from keyfpn.reconstruct.codec import codec_names

from .decode import Decoded
from .service import StreamSummary


class Report(ABC):
    """One way to print."""

    @abstractmethod
    def listening(self, host: str, port: int, models: list[DetectorModel]) -> None:
        """Edges can connect; a parent process waits for this line."""

    @abstractmethod
    def stream_ended(self, summary: StreamSummary) -> None:
        """A stream has ended."""

    def track(self, paths: Sequence[Path]) -> Iterable[Path]:
        """Goes through packet files, and may show how far it is."""
        return paths

    @abstractmethod
    def decoded(self, decoded: Decoded) -> None:
        """A packet file was decoded."""

    def failed(self, path: Path, error: Exception) -> None:
        """A packet file was not."""
        reason: object = error
        if isinstance(error, OSError) and error.strerror:
            elsewhere = f"{error.filename}: " if str(error.filename) != str(path) else ""
            reason = elsewhere + error.strerror
        print(f"error: {path}: {reason}", file=sys.stderr, flush=True)

    @abstractmethod
    def finished(self, decoded: int, failed: int) -> None:
        """All packet files have had their turn; how many went well, how many did not."""


class JsonReport(Report):
    """One JSON object per line of stdout."""

    def listening(self, host: str, port: int, models: list[DetectorModel]) -> None:
        held = [
            {"name": model.name, "fingerprint": model.fingerprint.hex(), "codecs": codec_names(model)}
            for model in models
        ]
        self._print({"event": "listening", "host": host, "port": port, "models": held})

    def stream_ended(self, summary: StreamSummary) -> None:
        self._print(
            {
                "event": "stream",
                "peer": summary.peer,
                "stream_id": f"{summary.stream_id:016x}",
                "frames": summary.frames,
                "errors": summary.errors,
                "mean_ms": round(summary.mean_ms, 3),
            }
        )

    def decoded(self, decoded: Decoded) -> None:
        self._print(decoded.as_dict())

    def failed(self, path: Path, error: Exception) -> None:
        super().failed(path, error)
        self._print({"packet": str(path), "error": {"kind": type(error).__name__, "message": str(error)}})

    def finished(self, decoded: int, failed: int) -> None:
        pass  # the lines can be counted

    def _print(self, document: dict[str, Any]) -> None:
        print(json.dumps(document), flush=True)


class TextReport(Report):
    """Lines as things happen; decoded packets as a table at the end."""

    def __init__(self) -> None:
        """Begin an empty table."""
        self._table = Table()
        self._table.add_column("packet", overflow="fold")
        self._table.add_column("codec")
        for column in ("frame", "bytes", "boxes", "ms"):
            self._table.add_column(column, justify="right")

    def listening(self, host: str, port: int, models: list[DetectorModel]) -> None:
        held = "; ".join(
            f"{model.name} ({model.fingerprint.hex()}, codecs {', '.join(codec_names(model))})" for model in models
        )
        print(f"listening on {host}:{port}, models {held}", flush=True)

    def stream_ended(self, summary: StreamSummary) -> None:
        print(
            f"stream {summary.stream_id:016x} of {summary.peer} ended: {summary.frames} frames, "
            f"{summary.errors} errors, {summary.mean_ms:.1f} ms per frame",
            flush=True,
        )

    def track(self, paths: Sequence[Path]) -> Iterable[Path]:
        console = Console(stderr=True)
        return track(paths, "decoding", console=console, transient=True, disable=not console.is_terminal)

    def decoded(self, decoded: Decoded) -> None:
        self._table.add_row(
            decoded.path.name,
            decoded.packet.codec,
            str(decoded.packet.frame_id),
            f"{decoded.size:,}",
            str(len(decoded.detections)),
            f"{decoded.ms:.1f}",
        )

    def finished(self, decoded: int, failed: int) -> None:
        if decoded:
            Console().print(self._table)
        print(f"{decoded} packets decoded, {failed} failed")


def choose(as_json: bool) -> Report:
    """The way to print that was asked for."""
    return JsonReport() if as_json else TextReport()
