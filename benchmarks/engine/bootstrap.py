"""How far an AP may be chance: paired bootstrap over the pictures (Efron & Tibshirani 1993, chapter 13).

A resample draws as many pictures as there are, with replacement. It is a weight per picture, so that AP on it needs no
new matching: detections are sorted once, and each resample is a weighted cumulative sum over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

RESAMPLES, SEED, CONFIDENCE = 200, 0, 0.95
AREAS = ("AP", "APs", "APm", "APl")
"""What is resampled, in the order of ``COCOeval``'s areas: all, small, medium, large."""


def draw_weights(pictures: int) -> NDArray[np.int32]:
    """How often each picture is in each resample, (RESAMPLES, pictures) int32: the same numbers at every call."""
    chances = np.full(pictures, 1 / pictures)
    return np.random.default_rng(SEED).multinomial(pictures, chances, size=RESAMPLES).astype(np.int32)


def confidence_interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """The central interval that holds :data:`CONFIDENCE` of the resamples; NaN ones are left out, unless all are."""
    tail = (1 - CONFIDENCE) / 2
    if np.isnan(differences).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(differences, [tail, 1 - tail])
    return float(low), float(high)


def weighted_ap(evaluation: COCOeval, weights: NDArray[np.int32], area: str = "AP") -> NDArray[np.float64]:
    """AP, as ``COCOeval.accumulate`` computes it, with every picture counted so many times.

    Args:
        evaluation: after ``evaluate()``.
        weights: (resamples, pictures) integers, pictures in the order of ``params.imgIds``.
        area: one of :data:`AREAS`.

    Returns:
        (resamples,) AP in points, 0 to 100; NaN where no picture of a resample has an annotation of that area.
    """
    levels = np.asarray(evaluation.params.recThrs)
    total = np.zeros(len(weights))
    categories = np.zeros(len(weights), np.int64)
    for category in _categories(evaluation, AREAS.index(area)):
        truths = weights @ category.truths
        present = truths > 0  # as pycocotools, which leaves a category without annotations out of the mean
        total[present] += _category_ap(category, weights[present], truths[present], levels)
        categories += present
    with np.errstate(invalid="ignore"):
        return 100 * total / categories


@dataclass(frozen=True)
class _Category:
    """One category's detections in all pictures, best score first."""

    truths: NDArray[np.int64]
    """(pictures,) annotations that count."""
    pictures: NDArray[np.int64]
    """(D,) the picture of each detection."""
    hits: NDArray[np.bool_]
    """(IoU thresholds, D): matched with an annotation that counts."""
    ignored: NDArray[np.bool_]
    """(IoU thresholds, D): matched with one that does not, such as a crowd, or with none and of another area."""


def _categories(evaluation: COCOeval, area: int) -> Iterator[_Category]:
    params = evaluation.params
    pictures, areas, most = len(params.imgIds), len(params.areaRng), params.maxDets[-1]
    for index in range(len(params.catIds)):
        begin = (index * areas + area) * pictures
        entries = [(p, e) for p, e in enumerate(evaluation.evalImgs[begin : begin + pictures]) if e is not None]
        truths = np.zeros(pictures, np.int64)
        for picture, entry in entries:
            truths[picture] = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)
        if not truths.any():
            continue
        scores = np.concatenate([entry["dtScores"][:most] for _, entry in entries])
        order = np.argsort(-scores, kind="mergesort")
        counts = [len(entry["dtScores"][:most]) for _, entry in entries]
        matched = np.concatenate([entry["dtMatches"][:, :most] for _, entry in entries], axis=1)[:, order] != 0
        ignored = np.concatenate([entry["dtIgnore"][:, :most] for _, entry in entries], axis=1)[:, order] != 0
        where = np.repeat([picture for picture, _ in entries], counts)[order]
        yield _Category(truths, where, matched & ~ignored, ignored)


def _category_ap(
    category: _Category, weights: NDArray[np.int32], truths: NDArray[np.int64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over IoU thresholds of the mean precision at the recall levels, 0 to 1, per resample."""
    per_detection = weights[:, category.pictures]
    found = np.cumsum(per_detection, axis=1)
    total = np.zeros(len(weights))
    for hits, ignored in zip(category.hits, category.ignored, strict=True):
        # Precision falls between hits and recall stands still: hits are all that AP depends on.
        at = np.flatnonzero(hits)
        if not len(at):
            continue
        true = np.cumsum(per_detection[:, at], axis=1)
        counted = found if not ignored.any() else np.cumsum(per_detection * ~ignored, axis=1)
        precision = true / (counted[:, at] + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # How many recall levels are first reached at each hit.
        reached = np.searchsorted(levels, true / truths[:, None], side="right")
        total += np.sum(np.diff(reached, axis=1, prepend=0) * precision, axis=1) / len(levels)
    return total / len(category.hits)
