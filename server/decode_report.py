"""What `decode` prints: a table for people, or JSON Lines for machines. Errors go to standard error either way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from rich.table import Table
from rich.text import Text

from keyfpn.console.exits import Failures
from keyfpn.console.progress import output
from keyfpn.console.records import frame_id, json_line
from keyfpn.console.text import printable

from .decode import Decoded


class DecodeReport(ABC):
    """One way to print.

    Attributes:
        failures: counts the packets that could not be decoded.
    """

    def __init__(self) -> None:
        """Start with no packet."""
        self.failures = Failures()

    @abstractmethod
    def decoded(self, decoded: Decoded) -> None:
        """A packet file was decoded."""

    def failed(self, path: Path, error: Exception) -> None:
        """A packet file was not."""
        reason: object = error
        if isinstance(error, OSError) and error.strerror:
            elsewhere = f"{error.filename}: " if str(error.filename) != str(path) else ""
            reason = elsewhere + error.strerror
        self.failures(f"{path}: {reason}")

    @abstractmethod
    def finished(self) -> None:
        """All packet files have had their turn."""


class JsonReport(DecodeReport):
    """One JSON object per packet."""

    def decoded(self, decoded: Decoded) -> None:
        print(json_line(decoded.as_dict()), flush=True)

    def failed(self, path: Path, error: Exception) -> None:
        super().failed(path, error)
        record = {"event": "packet", "packet": str(path)}
        print(json_line(record | {"error": {"kind": type(error).__name__, "message": str(error)}}), flush=True)

    def finished(self) -> None:
        pass  # the lines can be counted


class TableReport(DecodeReport):
    """A table at the end."""

    def __init__(self) -> None:
        """Begin an empty table."""
        super().__init__()
        self._table = Table()
        self._table.add_column("packet", overflow="fold")
        self._table.add_column("codec")
        for column in ("frame", "bytes", "boxes", "ms"):
            self._table.add_column(column, justify="right")

    def decoded(self, decoded: Decoded) -> None:
        self._table.add_row(
            Text(printable(decoded.path.name)),
            decoded.packet.codec,
            frame_id(decoded.packet.frame_id),
            f"{decoded.size:,}",
            str(len(decoded.detections)),
            f"{decoded.ms:.1f}",
        )

    def finished(self) -> None:
        if self._table.row_count:
            output().print(self._table)
        print(f"{self._table.row_count} packets decoded, {self.failures.count} failed")
