"""The measurements of a benchmark, on disk: what each row sent of each picture, and what was detected from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.coco import Picture
from keyfpn.protocol.detections import Detections

from .errors import BenchmarkError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS measurements (
    row TEXT, picture INTEGER, bytes INTEGER NOT NULL, boxes BLOB NOT NULL, scores BLOB NOT NULL, classes BLOB NOT NULL,
    PRIMARY KEY (row, picture)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Measurement:
    """One row on one picture."""

    row: str
    picture: int
    bytes: int
    """What was sent."""
    detections: Detections
    """All that the detector returned, up to its own limit."""


class Store:
    """A SQLite file of measurements. Each :meth:`add` is whole or not there, whatever ends the process."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            BenchmarkError: the file is no such store.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise BenchmarkError(
                str(path), "a store of measurements", error, "Delete it to start from the beginning."
            ) from error

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, measurements: Iterable[Measurement]) -> None:
        """Keep measurements, all of them or none."""
        values = [
            (m.row, m.picture, m.bytes, *(array.tobytes() for array in _as_stored(m.detections))) for m in measurements
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?, ?)", values)

    def done(self) -> set[tuple[str, int]]:
        """The (row, picture id) of all measurements."""
        with closing(self._connection.execute("SELECT row, picture FROM measurements")) as cursor:
            return set(cursor)

    def sizes(self, row: str) -> dict[int, int]:
        """Picture id to bytes sent, of a row's measurements so far."""
        with closing(
            self._connection.execute("SELECT picture, bytes FROM measurements WHERE row = ?", (row,))
        ) as cursor:
            return dict(cursor)

    def read(self, row: str, pictures: Sequence[Picture]) -> list[Measurement]:
        """A row's measurements, in the order of the pictures.

        Raises:
            BenchmarkError: one is missing.
        """
        query = "SELECT picture, bytes, boxes, scores, classes FROM measurements WHERE row = ?"
        with closing(self._connection.execute(query, (row,))) as cursor:
            found = {picture: Measurement(row, picture, sent, _from_stored(*blobs)) for picture, sent, *blobs in cursor}
        missing = [picture.path.name for picture in pictures if picture.id not in found]
        if missing:
            raise BenchmarkError(
                row, f"measurements of {len(pictures)} pictures", f"none of {len(missing)}, such as {missing[0]}"
            )
        return [found[picture.id] for picture in pictures]


def _as_stored(detections: Detections) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    return detections.boxes.astype("<f4"), detections.scores.astype("<f4"), detections.classes.astype("<i4")


def _from_stored(boxes: bytes, scores: bytes, classes: bytes) -> Detections:
    return Detections(
        np.frombuffer(boxes, "<f4").reshape(-1, 4),
        np.frombuffer(scores, "<f4"),
        np.frombuffer(classes, "<i4").astype(np.int64),
    )
