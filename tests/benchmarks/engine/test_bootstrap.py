from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keyfpn.benchmarks.engine.bootstrap import AREAS, RESAMPLES, confidence_interval, draw_weights, weighted_ap
from keyfpn.detector.coco import match, summarize

PICTURES, CATEGORIES = 12, 5


def scene() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Annotations, crowds among them, and detections: some near, some doubled, some far, some in empty pictures."""
    random = np.random.default_rng(3)
    annotations, results = [], []
    for picture in range(1, PICTURES + 1):
        for _ in range(random.integers(0, 7)):
            category = int(random.integers(1, CATEGORIES))  # the last category has detections only
            box = [*random.uniform(0, 200, 2), *random.uniform(20, 200, 2)]
            crowd = int(random.random() < 0.15)
            annotations.append(annotation(picture, category, box, crowd))
            for _ in range(random.integers(0, 3)):
                off = [value + random.normal(0, 6) for value in box]
                results.append(result(picture, category, off, random.random()))
        for _ in range(3):
            box = [*random.uniform(0, 200, 2), *random.uniform(20, 200, 2)]
            results.append(result(picture, int(random.integers(1, CATEGORIES + 1)), box, random.random()))
    return annotations, results


def annotation(picture: int, category: int, box: list[float], crowd: int) -> dict[str, Any]:
    return {"image_id": picture, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}


def result(picture: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": picture, "category_id": category, "bbox": box, "score": score}


def evaluate(annotations: list[dict[str, Any]], results: list[dict[str, Any]], pictures: int) -> COCOeval:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": id} for id in range(1, pictures + 1)],
        "categories": [{"id": id, "name": str(id)} for id in range(1, CATEGORIES + 1)],
        "annotations": [{**entry, "id": id} for id, entry in enumerate(annotations, 1)],
    }
    truth.createIndex()
    return match(truth, [dict(entry) for entry in results], range(1, pictures + 1))


def test_weights_of_one_give_the_ap_of_pycocotools() -> None:
    evaluation = evaluate(*scene(), PICTURES)
    (ap,) = weighted_ap(evaluation, np.ones((1, PICTURES), np.int32))
    assert 5 < ap < 95
    assert ap == pytest.approx(summarize(evaluation).AP, abs=1e-9)


@pytest.mark.parametrize("area", AREAS)
def test_each_object_size_has_its_ap(area: str) -> None:
    # Sides of 20 to 200 pixels: all but a few objects would be large by COCO's bounds, so shrink half of them.
    annotations, results = ([_shrunk(entry) for entry in entries] for entries in scene())
    evaluation = evaluate(annotations, results, PICTURES)
    expected = getattr(summarize(evaluation), area)
    assert 1 < expected < 99
    (ap,) = weighted_ap(evaluation, np.ones((1, PICTURES), np.int32), area)
    assert ap == pytest.approx(expected, abs=1e-9)


def _shrunk(entry: dict[str, Any]) -> dict[str, Any]:
    factor = (0.15, 0.4, 1.0)[entry["image_id"] % 3]
    box = [factor * value for value in entry["bbox"]]
    return {**entry, "bbox": box} | ({"area": box[2] * box[3]} if "area" in entry else {})


def test_a_resample_has_the_ap_of_pycocotools_on_pictures_really_drawn_again() -> None:
    annotations, results = scene()
    weights = np.random.default_rng(1).multinomial(PICTURES, [1 / PICTURES] * PICTURES, size=25).astype(np.int32)
    expected = []
    for row in weights:
        drawn = [picture for picture, times in enumerate(row, 1) for _ in range(times)]
        expected.append(summarize(evaluate(_redrawn(annotations, drawn), _redrawn(results, drawn), len(drawn))).AP)
    np.testing.assert_allclose(weighted_ap(evaluate(annotations, results, PICTURES), weights), expected, atol=1e-9)
    assert np.std(expected) > 1


def _redrawn(entries: list[dict[str, Any]], drawn: list[int]) -> list[dict[str, Any]]:
    return [
        {**entry, "image_id": new} for new, old in enumerate(drawn, 1) for entry in entries if entry["image_id"] == old
    ]


def test_a_resample_without_annotations_has_no_ap() -> None:
    annotations, results = scene()
    evaluation = evaluate([entry for entry in annotations if entry["image_id"] != 4], results, PICTURES)
    assert np.isnan(weighted_ap(evaluation, np.eye(PICTURES, dtype=np.int32)[3:4])).all()


def test_detections_of_nothing_have_an_ap_of_zero() -> None:
    annotations, _ = scene()
    far = [result(1, 1, [5000, 5000, 10, 10], 0.9)]
    assert weighted_ap(evaluate(annotations, far, PICTURES), draw_weights(PICTURES)).max() == 0


def test_every_row_of_a_benchmark_gets_the_same_resamples() -> None:
    weights = draw_weights(400)
    assert weights.shape == (RESAMPLES, 400)
    assert set(weights.sum(axis=1)) == {400}
    np.testing.assert_array_equal(weights, draw_weights(400))
    assert len({row.tobytes() for row in weights}) == RESAMPLES


def test_interval_holds_the_central_95_percent() -> None:
    low, high = confidence_interval(np.array([*range(-100, 101), np.nan]))
    assert (low, high) == (-95, 95)


def test_differences_that_are_all_undefined_have_no_interval() -> None:
    assert np.isnan(confidence_interval(np.full(10, np.nan))).all()
