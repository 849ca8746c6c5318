"""The rate-AP benchmark: measures what is missing, evaluates every row, and hands over the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
from rich.console import Console

from detector.coco import CocoData, Picture
from detector.model import DetectorModel
from detector.split import Precision

from . import evaluation, measure
from .anchors import NETWORK, Anchor
from .errors import BenchmarkError
from .evaluation import EvaluationSource, Figures
from .features import FeatureCache
from .pool import Pool, Task, progress
from .result import RateResult
from .rows import Row, anchor_rows, codec_rows, original_row
from .store import Store, cache_folder


@dataclass(frozen=True, kw_only=True)
class RateBenchmark:
    """What to measure, on which data; :meth:`run` does it."""

    images: Path
    annotations: Path
    limit: int | None
    """Of the pictures, by id."""
    detector: str
    weights: Path | None
    precision: Precision
    codecs: Sequence[str]
    """Codec settings of the split rows."""
    sizes: Sequence[str]
    """At which the anchors are sent."""
    cache: Path
    workers: int
    console: Console
    """For progress."""

    def run(self) -> RateResult:
        """Measure and evaluate. What was measured before, in whole or in part, is not measured again.

        Raises:
            ModelError, PictureError: the detector or the data cannot be used.
            ConfigurationError: codec settings that cannot work.
            BenchmarkError: no room for the features, a cache of other pictures, or a worker that failed.
        """
        data = CocoData(self.images, self.annotations, limit=self.limit)
        source = measure.Source(self.detector, self.weights, self.precision, None)
        model = source.open_model()
        _require_shared_categories(data, model)
        rows = [original_row(data.pictures), *anchor_rows(self.sizes), *codec_rows(self.codecs, model)]
        folder = cache_folder(self.cache, model, self.precision, self.annotations)
        path = folder / "measurements.sqlite"
        with Store(path) as store:
            _require_same_pictures(store, rows[0], data.pictures)
            missing = [work for stage in _stages(rows) for work in _missing(store, stage, data.pictures)]
            if any(not isinstance(row.how, Anchor) for _, wanted in missing for row in wanted):
                source = measure.Source(self.detector, self.weights, self.precision, folder / "features")
                self._reserve(FeatureCache(folder / "features", self.precision), model, missing)
            self._measure(store, source, missing)
        figures = self._evaluate(
            EvaluationSource(self.images, self.annotations, self.limit, model.category_ids, path), rows
        )
        if isnan(figures[0].metrics.AP):
            raise BenchmarkError(f"{self.annotations}: expected boxes of the {len(data.pictures)} pictures, found none")
        sizes = [geometry.raw_bytes() for _, geometry in measure.geometries(model, data.pictures)]
        return RateResult(model, self.precision, len(data.pictures), float(np.mean(sizes)), rows, figures)

    def _reserve(self, cache: FeatureCache, model: DetectorModel, missing: Sequence[tuple[Picture, list[Row]]]) -> None:
        pictures = list(dict.fromkeys(picture for picture, _ in missing))
        size = cache.reserve(measure.geometries(model, pictures))
        self.console.print(f"backbone features of {len(pictures)} pictures: {size / 1e9:.2f} GB more on the disk")

    def _measure(self, store: Store, source: measure.Source, missing: Sequence[tuple[Picture, list[Row]]]) -> None:
        tasks = [Task(str(picture.path), (picture, rows)) for picture, rows in missing]
        pool = Pool(measure.measure, setup=measure.set_up, setup_arguments=(source,), workers=self.workers)
        with progress(self.console, "measuring", sum(len(rows) for _, rows in missing)) as advance:
            for _, measurements in pool.run(tasks):
                store.add(measurements)
                advance(len(measurements))

    def _evaluate(self, source: EvaluationSource, rows: Sequence[Row]) -> list[Figures]:
        tasks = [Task(row.setting, (row.key,)) for row in rows]
        pool = Pool(
            evaluation.evaluate, setup=evaluation.set_up, setup_arguments=(source, rows[0].key), workers=self.workers
        )
        found = {}
        with progress(self.console, "evaluating", len(rows)) as advance:
            for task, figures in pool.run(tasks):
                found[task] = figures
                advance(1)
        return [found[task] for task in tasks]


def _stages(rows: Sequence[Row]) -> list[list[Row]]:
    """What tells most first, on all pictures: features, the original file and pictures of the network size."""
    first = [row for row in rows if row.size in (None, "original", NETWORK)]
    return [first, [row for row in rows if row not in first]]


def _missing(store: Store, rows: Sequence[Row], pictures: Sequence[Picture]) -> list[tuple[Picture, list[Row]]]:
    done = store.done()
    per_picture = ((picture, [row for row in rows if (row.key, picture.id) not in done]) for picture in pictures)
    return [(picture, wanted) for picture, wanted in per_picture if wanted]


def _require_same_pictures(store: Store, original: Row, pictures: Sequence[Picture]) -> None:
    """The bytes of the original row are the file's size, so a data set that was encoded anew gives itself away."""
    sizes = store.sizes(original.key)
    for picture in pictures:
        size = picture.path.stat().st_size
        if sizes.get(picture.id, size) != size:
            raise BenchmarkError(
                f"{store.path}: measured on other pictures: expected {sizes[picture.id]} bytes in {picture.path}, "
                f"found {size}; give another --cache, or delete this one"
            )


def _require_shared_categories(data: CocoData, model: DetectorModel) -> None:
    known, annotated = set(model.category_ids), set(data.coco.getCatIds())
    if not known & annotated:
        raise BenchmarkError(
            f"expected annotations in categories of the detector {model.name} (ids {min(known)} to {max(known)}), "
            f"found ids {sorted(annotated)[:5]}"
        )
