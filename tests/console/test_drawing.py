from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from keyfpn.console.drawing import _PALETTE, DRAWN_SCORE, draw
from keyfpn.protocol.detections import Detections, LabelMap

LABELS = LabelMap(("cat", "dog"), (17, 18))


def found(*boxes: tuple[float, ...], scores: tuple[float, ...], classes: tuple[int, ...]) -> Detections:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(array, np.array(scores, np.float32), np.array(classes, np.int64), LABELS)


def drawn(detections: Detections, height: int = 80, width: int = 60) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture.setflags(write=False)
    image = draw(detections, picture)
    assert isinstance(image, Image.Image)
    assert not picture.any()  # the caller's stays as it is
    array = np.asarray(image)
    assert array.shape == picture.shape
    return array


def test_boxes_above_the_score_alone_are_drawn() -> None:
    some = found((10, 20, 40, 60), (5, 5, 30, 30), scores=(0.9, 0.3), classes=(1, 0))
    array = drawn(some)
    assert array[60, 25].any()  # the lower edge of the first box
    assert not array[30, 7].any()  # the left edge of the second
    low = found((10, 20, 40, 60), (5, 5, 30, 30), scores=(0.49, 0.3), classes=(1, 0))
    assert not drawn(low).any()


def test_a_box_of_the_drawn_score_itself_is_drawn() -> None:
    assert drawn(found((10, 20, 40, 60), scores=(DRAWN_SCORE,), classes=(0,))).any()


@pytest.mark.parametrize("label", [0, 1])
def test_a_box_is_where_it_belongs_in_the_colour_of_its_class(label: int) -> None:
    array = drawn(found((100, 80, 300, 250), scores=(0.9,), classes=(label,)), 400, 500)
    colour = ImageColor.getrgb(_PALETTE[label])
    for y, x in ((80, 200), (250, 200), (165, 100), (165, 300), (80, 300), (250, 100)):
        assert tuple(array[y, x]) == colour
    outside = array.copy()
    outside[78:253, 98:303] = 0
    assert not outside.any()
    assert not array[200:245, 110:295].any()  # nor is it filled, below its label


def test_the_label_is_in_the_upper_left_corner() -> None:
    array = drawn(found((100, 80, 300, 250), scores=(0.9,), classes=(0,)), 400, 500)
    colour = ImageColor.getrgb(_PALETTE[0])
    corner = array[84:96, 104:150].reshape(-1, 3)
    assert (corner == colour).all(1).any()  # its ground
    assert (corner != colour).any()  # its letters


def test_the_best_label_lies_on_top() -> None:
    box = (20, 20, 200, 200)
    both = drawn(found(box, box, scores=(0.95, 0.6), classes=(0, 1)), 300, 300)
    best = drawn(found(box, scores=(0.95,), classes=(0,)), 300, 300)
    assert np.array_equal(both[20:30, 20:60], best[20:30, 20:60])


def test_no_objects_leave_the_picture_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    none = found(scores=(), classes=())
    assert np.array_equal(np.asarray(draw(none, picture)), picture)


@pytest.mark.parametrize(
    "box",
    [
        (30, 40, 30, 40),
        (30, 40, 30, 60),
        (30, 40, 50, 40),
        (50, 60, 30, 40),  # turned around
        (30.6, 40.6, 30.7, 40.7),
    ],
)
def test_a_box_of_no_size_is_a_mark(box: tuple[float, ...]) -> None:
    array = drawn(found(box, scores=(0.9,), classes=(0,)), 100, 100)
    assert array[int(box[1]) : int(box[1]) + 3, int(box[0]) : int(box[0]) + 3].any()


@pytest.mark.parametrize("box", [(-50, -50, 200, 200), (-20, -20, -10, -10), (0, 0, 1e6, 1e6)])
def test_a_box_beyond_the_picture_is_cut_off(box: tuple[float, ...]) -> None:
    drawn(found(box, scores=(0.9,), classes=(0,)))


def test_a_class_beyond_the_palette_and_the_labels_is_drawn() -> None:
    assert drawn(found((10, 20, 40, 60), scores=(0.9,), classes=(987,))).any()


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (2000, 3000)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    assert drawn(found((0, 0, 10, 10), scores=(0.9,), classes=(0,)), *size).any()
