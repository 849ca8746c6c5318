import numpy as np

from keyfpn.protocol.detections import Detections


def some() -> Detections:
    boxes = np.array([[10, 20, 40, 60], [5, 5, 30, 30]], np.float32)
    return Detections(boxes, np.array([0.9, 0.3], np.float32), np.array([1, 0]))


def test_coco_boxes_are_corner_and_size() -> None:
    first, _ = some().to_coco(7, [1, 44])
    assert first["bbox"] == [10, 20, 30, 40]
    assert (first["image_id"], first["category_id"]) == (7, 44)
    assert first["score"] == np.float32(0.9)


def test_drawing_shows_boxes_above_the_score_alone() -> None:
    picture = np.zeros((80, 60, 3), np.uint8)
    drawn = np.asarray(some().draw(picture, ["cat", "dog"], score=0.5))
    assert drawn.shape == picture.shape
    assert drawn[60, 25].any()  # the lower edge of the first box
    assert not drawn[30, 7].any()  # the left edge of the second
    assert not np.asarray(some().draw(picture, ["cat", "dog"], score=0.95)).any()
    assert not picture.any()
