from __future__ import annotations

import numpy as np
import pytest

from keyfpn.benchmarks.engine.evaluation import Evaluator
from keyfpn.benchmarks.engine.store import Measurement
from keyfpn.detector.coco import CocoData, as_ground_truth, match, summarize
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.protocol.detections import Detections


@pytest.fixture(scope="module")
def unsplit(data: CocoData, detect) -> list[Measurement]:
    return [
        Measurement("original", picture.id, 1000 * picture.id, detect(read_picture(picture.path)))
        for picture in data.pictures
    ]


@pytest.fixture(scope="module")
def evaluator(data: CocoData, quick_model: Model, unsplit: list[Measurement]) -> Evaluator:
    return Evaluator(data, quick_model.labels.category_ids, unsplit)


def results(measurements: list[Measurement], model: Model, score: float = 0.0) -> list[dict]:
    return [r for m in measurements for r in m.detections.above(score).to_coco(m.picture, model.labels.category_ids)]


def test_the_unsplit_detector_agrees_with_itself_and_differs_by_nothing(
    evaluator: Evaluator, unsplit: list[Measurement], data: CocoData, quick_model: Model
) -> None:
    figures = evaluator.evaluate(unsplit)
    assert figures.agreement == 100
    assert set(figures.intervals) == {"AP", "APs", "APm", "APl"}
    assert figures.intervals["AP"] == (0, 0)
    assert figures.bytes == 1000 * (3 + 7 + 11) / 3
    assert figures.metrics.as_dict() == data.evaluate(results(unsplit, quick_model)).as_dict()
    assert 5 < figures.metrics.AP < 100


def test_worse_boxes_cost_ap_and_agreement(
    evaluator: Evaluator, unsplit: list[Measurement], data: CocoData, quick_model: Model
) -> None:
    worse = [
        Measurement(m.row, m.picture, m.bytes, Detections(m.detections.boxes * 1.04, *_rest(m.detections)))
        for m in unsplit
    ]
    figures = evaluator.evaluate(worse)
    own = as_ground_truth(results(unsplit, quick_model, score=0.3), like=data.coco)
    assert figures.agreement == summarize(match(own, results(worse, quick_model), data.image_ids)).AP
    assert 0 < figures.agreement < 100
    difference = figures.metrics.AP - evaluator.evaluate(unsplit).metrics.AP
    low, high = figures.intervals["AP"]
    assert low < difference < high


def test_no_boxes_at_all_are_worth_nothing(evaluator: Evaluator, unsplit: list[Measurement]) -> None:
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    figures = evaluator.evaluate([Measurement("x", m.picture, 1, nothing) for m in unsplit])
    assert (figures.metrics.AP, figures.agreement) == (0, 0)
    assert figures.intervals["AP"][1] < 0


def _rest(detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    return detections.scores, detections.classes
