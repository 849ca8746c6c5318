"""From a row's measurements to its figures: rate, AP, agreement, and how sure the AP is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from keyfpn.detector.coco import CocoData, Metrics, as_ground_truth, match, summarize

from .bootstrap import AREAS, confidence_interval, draw_weights, weighted_ap
from .store import Measurement, Store

AGREEMENT_SCORE = 0.3
"""The unsplit detector's boxes of at least this score stand for annotations in the agreement."""


@dataclass(frozen=True)
class Figures:
    """What a row costs and is worth, over all pictures."""

    bytes: float
    """Mean per picture."""
    metrics: Metrics
    agreement: float
    """AP, in points, against the unsplit detector's own boxes."""
    intervals: Mapping[str, tuple[float, float]]
    """Of AP, APs, APm and APl: the interval of the difference to the unsplit detector, in points."""


class Evaluator:
    """Compares rows with the annotations and with the unsplit detector."""

    def __init__(self, data: CocoData, category_ids: Sequence[int], unsplit: Sequence[Measurement]) -> None:
        """Take the reference.

        Args:
            data: pictures and annotations.
            category_ids: the category id of each of the detector's classes.
            unsplit: the unsplit detector's measurements, of all pictures.
        """
        self._data = data
        self._category_ids = category_ids
        self._unsplit = unsplit

    def evaluate(self, measurements: Sequence[Measurement]) -> Figures:
        """The figures of one row, whose measurements are of all pictures."""
        results = self._results(measurements)
        evaluation = self._data.match(results)
        return Figures(
            bytes=float(np.mean([measurement.bytes for measurement in measurements])),
            metrics=summarize(evaluation),
            agreement=summarize(match(self._unsplit_boxes, results, self._data.image_ids)).AP,
            intervals={
                name: confidence_interval(weighted_ap(evaluation, self._weights, name) - unsplit)
                for name, unsplit in self._unsplit_ap.items()
            },
        )

    @cached_property
    def _weights(self) -> NDArray[np.int32]:
        return draw_weights(len(self._data.pictures))

    @cached_property
    def _unsplit_ap(self) -> dict[str, NDArray[np.float64]]:
        evaluation = self._data.match(self._results(self._unsplit))
        return {name: weighted_ap(evaluation, self._weights, name) for name in AREAS}

    @cached_property
    def _unsplit_boxes(self) -> COCO:
        return as_ground_truth(self._results(self._unsplit, AGREEMENT_SCORE), like=self._data.coco)

    def _results(self, measurements: Sequence[Measurement], score: float = 0.0) -> list[dict[str, Any]]:
        return [
            result
            for measurement in measurements
            for result in measurement.detections.above(score).to_coco(measurement.picture, self._category_ids)
        ]


@dataclass(frozen=True)
class EvaluationSource:
    """What a process needs to read data and measurements for itself."""

    images: Path
    annotations: Path
    limit: int | None
    category_ids: tuple[int, ...]
    store: Path


def evaluate(source: EvaluationSource, unsplit: str, row: str) -> Figures:
    """The figures of a row in a worker process; ``unsplit`` and ``row`` are keys of the store.

    Raises:
        BenchmarkError: a picture was not measured.
    """
    data, evaluator = _opened(source, unsplit)
    with Store(source.store) as store:
        return evaluator.evaluate(store.read(row, data.pictures))


@lru_cache(maxsize=1)
def _opened(source: EvaluationSource, unsplit: str) -> tuple[CocoData, Evaluator]:
    data = CocoData(source.images, source.annotations, limit=source.limit)
    with Store(source.store) as store:
        return data, Evaluator(data, source.category_ids, store.read(unsplit, data.pictures))
