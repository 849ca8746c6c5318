"""One detector on one data set: measures what is missing of some rows, evaluates them, and keeps what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.model import DetectorModel, open_detector
from keyfpn.detector.split import Precision
from keyfpn.protocol.geometry import Geometry

from ..rate.baselines import Anchor
from ..rate.rows import RateRow, Row, original_row
from . import evaluation, measure
from .errors import BenchmarkError
from .evaluation import EvaluationSource, Figures
from .features import FeatureCache
from .measure import Source
from .pool import Pool, Task, progress
from .store import Store, cache_folder


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
    workers: int
    console: Console
    """For progress."""

    @cached_property
    def data(self) -> CocoData:
        """Raises PictureError as :class:`CocoData` does."""
        return CocoData(self.images, self.annotations, limit=self.limit)

    @cached_property
    def model(self) -> DetectorModel:
        """Raises ModelError as :func:`open_detector` does."""
        return open_detector(self.detector, self.weights)

    @cached_property
    def original(self) -> RateRow:
        """The original files, which the unsplit detector reads: the reference of every other row."""
        return original_row(self.data.pictures)

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
        known, annotated = set(self.model.category_ids), set(self.data.coco.getCatIds())
        if not known & annotated:
            raise BenchmarkError(
                f"expected annotations in categories of the detector {self.model.name} (ids {min(known)} to "
                f"{max(known)}), found ids {sorted(annotated)[:5]}"
            )
        with Store(self._store_path) as store:
            self._require_same_pictures(store)

    def awaiting(self, rows: Sequence[Row]) -> list[Picture]:
        """The pictures on which a row that needs their features is not measured yet."""
        rows = [row for row in rows if not isinstance(row.how, Anchor)]
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
        size = FeatureCache(self._features, self.precision).reserve(wanted, promised)
        self.console.print(f"backbone features of {len(ids)} pictures: {size / 1e9:.2f} GB more on the disk")
        return size

    def measure(self, stages: Sequence[Sequence[Row]]) -> None:
        """Measure rows, one stage after the other. What was measured before, in whole or in part, is not again.

        Raises:
            BenchmarkError: a worker failed.
        """
        with Store(self._store_path) as store:
            missing = [work for stage in stages for work in _missing(store, stage, self.data.pictures)]
            tasks = [Task(str(picture.path), (picture, rows)) for picture, rows in missing]
            with progress(self.console, "measuring", sum(len(rows) for _, rows in missing)) as advance:
                for _, measurements in self._pool(measure.measure, measure.set_up, self._source).run(tasks):
                    store.add(measurements)
                    advance(len(measurements))

    def evaluate(self, rows: Sequence[Row], reference: Row | None = None) -> list[Figures]:
        """The figures of rows that were measured, in their order.

        Args:
            rows: of which every picture was measured.
            reference: what they are compared with; the unsplit detector unless told.

        Raises:
            BenchmarkError: no picture has an annotation.
        """
        source = EvaluationSource(self.images, self.annotations, self.limit, self.model.category_ids, self._store_path)
        tasks = [Task(row.key, (row.key,)) for row in rows]
        pool = self._pool(evaluation.evaluate, evaluation.set_up, source, (reference or self.original).key)
        found = {}
        with progress(self.console, "evaluating", len(rows)) as advance:
            for task, figures in pool.run(tasks):
                found[task] = figures
                advance(1)
        if any(isnan(figures.metrics.AP) for figures in found.values()):
            raise BenchmarkError(
                f"{self.annotations}: expected boxes of the {len(self.data.pictures)} pictures, found none"
            )
        return [found[task] for task in tasks]

    def map(self, function: Callable[[Picture], Any], what: str) -> Iterator[Any]:
        """Yield what a function makes of each picture in a worker process, in any order.

        Args:
            function: importable, takes a :class:`Picture`; :func:`.measure.features` serves it there.
            what: in words, for progress.
        """
        pool = self._pool(function, measure.set_up, self._source)
        tasks = [Task(str(picture.path), (picture,)) for picture in self.data.pictures]
        with progress(self.console, what, len(tasks)) as advance:
            for _, result in pool.run(tasks):
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
        return Source(self.detector, self.weights, self.precision, self._features)

    def _pool(self, function: Callable[..., Any], setup: Callable[..., None], *arguments: Any) -> Pool[Any]:
        return Pool(function, setup=setup, setup_arguments=arguments, workers=self.workers)

    def _require_same_pictures(self, store: Store) -> None:
        """The bytes of the original row are the file's size, so a data set encoded anew gives itself away."""
        sizes = store.sizes(self.original.key)
        for picture in self.data.pictures:
            size = picture.path.stat().st_size
            if sizes.get(picture.id, size) != size:
                raise BenchmarkError(
                    f"{store.path}: measured on other pictures: expected {sizes[picture.id]} bytes in {picture.path}, "
                    f"found {size}; give another --cache, or delete this one"
                )


def _missing(store: Store, rows: Sequence[Row], pictures: Sequence[Picture]) -> list[tuple[Picture, list[Row]]]:
    done = store.done()
    per_picture = ((picture, [row for row in rows if (row.key, picture.id) not in done]) for picture in pictures)
    return [(picture, wanted) for picture, wanted in per_picture if wanted]
