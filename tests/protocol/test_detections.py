from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.detections import Detections, LabelMap

LABELS = LabelMap(("person", "dog"), (1, 18))


def detections(count: int, **parts: object) -> Detections:
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    boxes = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    return Detections(boxes, scores, np.arange(count) % 2, LABELS, **parts)


@given(st.integers(0, 12), st.floats(0, 1))
def test_above_keeps_what_belongs_together(count: int, score: float) -> None:
    masks, keypoints = np.arange(count * 6).reshape(count, 2, 3) % 2 == 0, np.ones((count, 5, 3), np.float32)
    found = detections(count, masks=masks, keypoints=keypoints)
    kept = found.above(score)
    where = [index for index, value in enumerate(found.scores) if value >= score]
    assert len(kept) == len(where)
    for name in ("boxes", "scores", "classes", "masks", "keypoints"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(found, name)[where])
    assert kept.names == [found.names[index] for index in where]
    assert kept.label_map is found.label_map


def test_names_where_the_label_map_has_none() -> None:
    found = Detections(np.zeros((2, 4), np.float32), np.ones(2, np.float32), np.int64([1, 5]), LABELS)
    assert found.names == ["dog", "class 5"]


def test_coco_results_are_corner_width_and_height() -> None:
    found = Detections(np.float32([[10, 20, 110, 220]]), np.float32([0.5]), np.int64([1]), LABELS)
    assert found.to_coco(7) == [{"image_id": 7, "category_id": 18, "bbox": [10, 20, 100, 200], "score": 0.5}]
    assert found.to_coco(7, category_ids=(3, 4))[0]["category_id"] == 4
    assert detections(0).to_coco(7) == []


def test_coco_results_need_a_category_for_every_class() -> None:
    found = Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.int64([2]), LABELS)
    with pytest.raises(ValueError, match="expected a category id for class 2, found 2 ids"):
        found.to_coco(7)


@pytest.mark.parametrize(
    "parts",
    [
        {"boxes": np.zeros((2, 4))},
        {"boxes": np.zeros((3, 5))},
        {"classes": np.zeros(2, int)},
        {"masks": np.zeros((1, 4, 4), bool)},
        {"keypoints": np.zeros((4, 17, 3))},
    ],
)
def test_arrays_that_do_not_go_together(parts: dict[str, np.ndarray]) -> None:
    whole = {"boxes": np.zeros((3, 4)), "scores": np.zeros(3), "classes": np.zeros(3, int)}
    with pytest.raises(ValueError, match="for each of 3 scores, found shapes"):
        Detections(**{**whole, **parts})


def test_a_label_map_has_as_many_ids_as_names() -> None:
    assert len(LabelMap(["a", "b"], [5, 9])) == 2
    assert LabelMap(["a"], [5]).names == ("a",)
    with pytest.raises(ValueError, match="expected a category id per name, found 1 for 2"):
        LabelMap(("a", "b"), (5,))
