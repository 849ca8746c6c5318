import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keyfpn.detector.coco import CocoData, as_ground_truth, match, summarize
from keyfpn.detector.errors import PictureError
from keyfpn.protocol.detections import Detections

BOXES = {1: [[10, 10, 20, 20], [40, 40, 100, 100]], 2: [[5, 5, 50, 60]]}


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    for image_id in BOXES:
        Image.new("RGB", (160, 160)).save(tmp_path / f"{image_id}.png")
    document: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 160, "height": 160} for i in BOXES],
        "categories": [{"id": 3, "name": "car"}],
        "annotations": [
            {"id": 10 * i + n, "image_id": i, "category_id": 3, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, boxes in BOXES.items()
            for n, box in enumerate(boxes)
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    return path


def perfect_results() -> list[dict[str, Any]]:
    results = []
    for image_id, boxes in BOXES.items():
        corners = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes], np.float32)
        found = Detections(corners, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64))
        results += found.to_coco(image_id, [3])
    return results


def test_results_have_corner_and_size() -> None:
    boxes = np.array([[10, 20, 40, 60], [5, 5, 30, 30]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.3], np.float32), np.array([1, 0]))
    first, _ = found.to_coco(7, [1, 44])
    assert first["bbox"] == [10, 20, 30, 40]
    assert (first["image_id"], first["category_id"]) == (7, 44)
    assert first["score"] == np.float32(0.9)


def test_perfect_detections_have_100_ap(annotations: Path) -> None:
    data = CocoData(annotations.parent, annotations)
    metrics = data.evaluate(perfect_results())
    assert metrics.as_dict() == {"AP": 100.0, "AP50": 100.0, "APs": 100.0, "APm": 100.0, "APl": 100.0}


def test_a_missed_box_costs_and_sizes_are_apart(annotations: Path) -> None:
    data = CocoData(annotations.parent, annotations)
    metrics = data.evaluate(perfect_results()[1:])
    assert metrics.APs == 0  # the box of 20 x 20 was the only small one
    assert metrics.APl == pytest.approx(100)
    assert 60 < metrics.AP < 70


def test_no_detections_have_0_ap(annotations: Path) -> None:
    assert CocoData(annotations.parent, annotations).evaluate([]).AP == 0


def test_sizes_without_boxes_are_null(annotations: Path) -> None:
    data = CocoData(annotations.parent, annotations, limit=1)
    assert data.image_ids == [1]
    assert data.evaluate(perfect_results()[:2]).as_dict()["APm"] is None


def test_agreement_measures_against_other_detections(annotations: Path) -> None:
    data = CocoData(annotations.parent, annotations)
    truth = as_ground_truth(perfect_results()[:2], data.coco)
    assert summarize(match(truth, perfect_results()[:2], data.image_ids)).AP == 100
    assert summarize(match(truth, perfect_results()[1:], data.image_ids)).AP < 60


def test_wrong_data_is_named_before_any_work(annotations: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="expected the folder of the pictures"):
        CocoData(tmp_path / "nowhere", annotations)
    with pytest.raises(PictureError, match=r"none\.json: expected an annotation file, found none of that name"):
        CocoData(tmp_path, tmp_path / "none.json")
    (tmp_path / "2.png").unlink()
    with pytest.raises(PictureError, match=r"names, found 1 of 2 missing, such as 2\.png"):
        CocoData(tmp_path, annotations)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "annotations": 3, "categories": []}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(PictureError, match=r"a\.json: expected COCO JSON"):
        CocoData(tmp_path, tmp_path / "a.json")


def test_empty_annotations_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(PictureError, match=r"the pictures that a\.json names, found that it names none"):
        CocoData(tmp_path, tmp_path / "a.json")
