"""A run's log in JSON Lines: one record for each step and each evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keyfpn.protocol.files import whole_file

from .errors import TrainingError

Record = dict[str, Any]
"""``step`` (optimizer steps done) in every record; ``loss`` in a step's, ``evaluation`` (name to figure) in others."""


class TrainingLog:
    """Appends records to a file, each at once, and keeps them at hand."""

    def __init__(self, path: Path, *, step: int) -> None:
        """Open a log, new or not.

        Args:
            path: the file.
            step: records of later steps are dropped: a process that was killed wrote them after its last checkpoint,
                and the run takes those steps again.

        Raises:
            TrainingError: the file is no log.
        """
        self.records = [record for record in read_log(path) if record["step"] <= step]
        with whole_file(path) as file:
            file.write_text("".join(map(_line, self.records)))
        self._path = path

    def write(self, record: Record) -> None:
        """Append one record."""
        self.records.append(record)
        with self._path.open("a") as file:
            file.write(_line(record))

    def evaluated(self, step: int) -> bool:
        """Whether there is an evaluation after ``step`` steps."""
        return any(record["step"] == step and "evaluation" in record for record in reversed(self.records))

    def published(self, step: int) -> bool:
        """Whether the model after ``step`` steps was published."""
        return any(record["step"] == step and "published" in record for record in reversed(self.records))


def read_log(path: Path) -> list[Record]:
    """Read a log; none is an empty one, and a last line that was cut short is left out.

    Raises:
        TrainingError: a line is no record.
    """
    text = path.read_text() if path.is_file() else ""
    whole, _, _ = text.rpartition("\n")
    records = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError("'step' is no whole number")
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{path}, line {number}: expected a record with its step: {error!r}") from error
        records.append(record)
    return records


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
