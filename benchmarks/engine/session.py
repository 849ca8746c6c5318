"""One detector on one data set: measures what is missing of some rows, evaluates them, and keeps what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console

from keyfpn.console.progress import progress
from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.precision import Precision
from keyfpn.protocol.geometry import Geometry

from . import evaluation, measure
from .cache import cache_folder
from .errors import BenchmarkError
from .evaluation import EvaluationSource, Figures
from .features import FeatureCache
from .measure import Source
from .pool import Pool, Task
from .rows import Row
from .store import Store
from .way import OriginalFile

Result = TypeVar("Result")
ORIGINAL = Row(way=OriginalFile())
"""The original files, which the unsplit detector reads: the reference of every other row."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What to measure on, and where it is kept; nothing is opened before it is needed."""

    images: Path
    annotations: Path
    limit: int | None
    """Of the pictures, by id."""
    detector: str
    weights: Path | None
    precision: Precision
    cache: Path
    pool: Pool
    console: Console
    """For progress."""

    @cached_property
    def data(self) -> CocoData:
        """Raises PictureError as :class:`CocoData` does."""
        return CocoData(self.images, self.annotations, limit=self.limit)

    @cached_property
    def model(self) -> Model:
        """Raises ModelError as :func:`open_model` does."""
        return open_model(self.detector, self.weights)

    @cached_property
    def geometries(self) -> list[tuple[int, Geometry]]:
        """Each picture's id and pyramid geometry."""
        return measure.geometries(self.model, self.data.pictures)

    def mean(self, size: Callable[[Geometry], float]) -> float:
        """The mean over pictures of what a function makes of their geometry."""
        return float(np.mean([size(geometry) for _, geometry in self.geometries]))

    def check(self) -> None:
        """Find out, before there is any work, that detector, pictures, annotations and cache belong together.

        Raises:
            ModelError, PictureError: the detector or the data cannot be used.
            BenchmarkError: annotations of things that the detector does not know, or a cache of other pictures.
        """
        known, annotated = set(self.model.labels.category_ids), set(self.data.coco.getCatIds())
        if not known & annotated:
            raise BenchmarkError(
                str(self.annotations),
                f"annotations in categories of the detector {self.model.name} (ids {min(known)} to {max(known)})",
                f"ids {sorted(annotated)[:5]}",
            )
        with Store(self._store_path) as store:
            self._require_same_pictures(store)

    def awaiting(self, rows: Sequence[Row]) -> list[Picture]:
        """The pictures on which a row that needs their features is not measured yet."""
        rows = [row for row in rows if row.way.reads_features]
        with Store(self._store_path) as store:
            return [picture for picture, _ in _missing(store, rows, self.data.pictures)]

    def reserve(self, pictures: Sequence[Picture], promised: int = 0) -> int:
        """Say what the features of some pictures will take of the disk.

        Args:
            pictures: whose features will be needed.
            promised: bytes that something else will write there.

        Returns:
            Bytes still to be written.

        Raises:
            BenchmarkError: the disk has no such room.
        """
        if not pictures:
            return 0
        ids = {picture.id for picture in pictures}
        wanted = [(id, geometry) for id, geometry in self.geometries if id in ids]
        size = FeatureCache(self._features, self.precision, self.model.pyramid).reserve(wanted, promised)
        self.console.print(f"backbone features of {len(ids)} pictures: {size / 1e9:.2f} GB more on the disk")
        return size

    def measure(self, stages: Sequence[Sequence[Row]]) -> None:
        """Measure rows, one stage after the other. What was measured before, in whole or in part, is not again.

        Raises:
            WorkerError: a worker failed.
        """
        with Store(self._store_path) as store:
            missing = [work for stage in stages for work in _missing(store, stage, self.data.pictures)]
            tasks = [
                Task(str(picture.path), (self._source, picture, [row.way for row in rows])) for picture, rows in missing
            ]
            with progress(self.console, "measuring", sum(len(rows) for _, rows in missing)) as advance:
                for _, measurements in self.pool.run(measure.measure, tasks):
                    store.add(measurements)
                    advance(len(measurements))

    def evaluate(self, rows: Sequence[Row], reference: Row = ORIGINAL) -> list[Figures]:
        """The figures of rows that were measured, in their order.

        Args:
            rows: of which every picture was measured.
            reference: what they are compared with; the unsplit detector unless told.

        Raises:
            WorkerError: a worker failed.
            BenchmarkError: no picture has an annotation.
        """
        categories = tuple(self.model.labels.category_ids)
        source = EvaluationSource(self.images, self.annotations, self.limit, categories, self._store_path)
        tasks = [Task(row.key, (source, reference.key, row.key)) for row in rows]
        found = {}
        with progress(self.console, "evaluating", len(rows)) as advance:
            for task, figures in self.pool.run(evaluation.evaluate, tasks):
                found[task] = figures
                advance(1)
        if any(isnan(figures.metrics.AP) for figures in found.values()):
            raise BenchmarkError(str(self.annotations), f"boxes of the {len(self.data.pictures)} pictures", "none")
        return [found[task] for task in tasks]

    def map(self, function: Callable[[Source, Picture], Result], what: str) -> Iterator[Result]:
        """Yield what a function makes of each picture in a worker process, in any order.

        Args:
            function: importable; :func:`.measure.features` serves it there.
            what: in words, for progress.
        """
        tasks = [Task(str(picture.path), (self._source, picture)) for picture in self.data.pictures]
        with progress(self.console, what, len(tasks)) as advance:
            for _, result in self.pool.run(function, tasks):
                yield result
                advance(1)

    @cached_property
    def _folder(self) -> Path:
        return cache_folder(self.cache, self.model, self.precision, self.annotations)

    @property
    def _store_path(self) -> Path:
        return self._folder / "measurements.sqlite"

    @property
    def _features(self) -> Path:
        return self._folder / "features"

    @property
    def _source(self) -> Source:
        return Source(self.detector, self.weights, self.precision, self._features, self.model.fingerprint)

    def _require_same_pictures(self, store: Store) -> None:
        """The bytes of the original row are the file's size, which tells a data set that was encoded a second time."""
        sizes = store.sizes(ORIGINAL.key)
        for picture in self.data.pictures:
            size = picture.path.stat().st_size
            if sizes.get(picture.id, size) != size:
                raise BenchmarkError(
                    str(store.path),
                    f"measurements of these pictures ({picture.path} has {size} bytes)",
                    f"measurements of other pictures ({sizes[picture.id]} bytes)",
                    "Give another --cache, or delete this one.",
                )


def _missing(store: Store, rows: Sequence[Row], pictures: Sequence[Picture]) -> list[tuple[Picture, list[Row]]]:
    done = store.done()
    per_picture = ((picture, [row for row in rows if (row.key, picture.id) not in done]) for picture in pictures)
    return [(picture, wanted) for picture, wanted in per_picture if wanted]
