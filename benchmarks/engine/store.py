"""The measurements of a benchmark, on disk: what each row sent of each picture, and what was detected from it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from keyfpn.detector.coco import Picture
from keyfpn.detector.detections import Detections
from keyfpn.detector.model import CONFIG_FILE, WEIGHTS_FILE, DetectorModel
from keyfpn.detector.split import Precision

from .errors import BenchmarkError

_DETECTOR_FILES = (CONFIG_FILE, WEIGHTS_FILE, "config", "weights")  # the latter two of a bare config
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


def cache_folder(root: Path, model: DetectorModel, precision: Precision, annotations: Path) -> Path:
    """The folder, below ``root``, of what can be kept for a detector on a data set.

    A codec's files count for nothing here, so that a published model with a new codec keeps the rows that need none;
    neither do threads. The versions of Pillow and torch do: their encoders and kernels make the numbers.
    """
    identity = {
        "detector": {name: digest for name, digest in model.manifest.hashes.items() if name in _DETECTOR_FILES},
        "precision": precision,
        "annotations": hashlib.sha256(annotations.read_bytes()).hexdigest(),
        "versions": {package: version(package) for package in ("pillow", "torch")},
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return root / f"{model.name}-{precision}-{key}"


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
            raise BenchmarkError(f"{path}: not a store of measurements ({error}); delete it to start anew") from error

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
                f"{row}: {len(missing)} of {len(pictures)} pictures are not measured, such as {missing[0]}"
            )
        return [found[picture.id] for picture in pictures]


def _as_stored(detections: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return detections.boxes.astype("<f4"), detections.scores.astype("<f4"), detections.classes.astype("<i4")


def _from_stored(boxes: bytes, scores: bytes, classes: bytes) -> Detections:
    return Detections(
        np.frombuffer(boxes, "<f4").reshape(-1, 4),
        np.frombuffer(scores, "<f4"),
        np.frombuffer(classes, "<i4").astype(np.int64),
    )
