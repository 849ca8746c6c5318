from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode

from keyfpn.detector.coco import CocoData
from keyfpn.detector.errors import PictureError
from keyfpn.training.detector.data import Batch, StepBatches, category_ids, samples
from keyfpn.training.detector.recipe import Recipe
from keyfpn.training.engine.batches import load_batches
from keyfpn.training.engine.errors import TrainingError

RECIPE = Recipe(batch=3, seed=1)


@pytest.fixture
def batches(data: CocoData, tiny_cfg: CfgNode) -> StepBatches:
    return StepBatches(samples(data, data.pictures, category_ids(data, tiny_cfg)), tiny_cfg, RECIPE)


def equal(left: Batch, right: Batch) -> bool:
    return all(
        torch.equal(a["image"], b["image"])
        and torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
        and torch.equal(a["instances"].gt_classes, b["instances"].gt_classes)
        for a, b in zip(left, right, strict=True)
    )


def changed(drawn: Path, folder: Path, change: dict[str, object], *, of: str = "annotations") -> CocoData:
    """The drawn data, with fields of its first annotation or image changed."""
    document = json.loads((drawn / "annotations.json").read_text())
    document[of][0] |= change
    (folder / "annotations.json").write_text(json.dumps(document))
    return CocoData(drawn / "images", folder / "annotations.json")


def test_a_step_gives_the_same_batch_whatever_came_before(batches: StepBatches) -> None:
    forward = [batches[step] for step in range(6)]
    assert all(equal(batches[step], forward[step]) for step in (5, 0, 3, 3))
    assert not equal(forward[0], forward[4])  # the same pictures come again after 4 steps, augmented in another way


def test_the_loader_gives_the_same_batches_from_any_step_on(batches: StepBatches) -> None:
    loaded = list(load_batches(batches, range(2, 5)))
    assert len(loaded) == 3
    assert all(equal(batch, batches[step]) for step, batch in enumerate(loaded, start=2))


def test_boxes_follow_the_picture_through_crop_resize_and_flip(batches: StepBatches) -> None:
    greys, widths = {0: [], 1: []}, set()
    for step in range(20):
        for sample in batches[step]:
            image, instances = sample["image"].float(), sample["instances"]
            assert image.shape[1:] == instances.image_size
            assert 48 <= min(image.shape[1:]) <= 66  # 2/3 to 11/12 of 72
            widths.add(image.shape[2])
            for box, label in zip(instances.gt_boxes.tensor.tolist(), instances.gt_classes.tolist(), strict=True):
                x0, y0, x1, y1 = box
                assert 0 <= x0 < x1 <= image.shape[2]
                assert 0 <= y0 < y1 <= image.shape[1]
                if min(x1 - x0, y1 - y0) > 4:  # a sliver is blurred by the resize
                    greys[label].append(image[:, int((y0 + y1) / 2), int((x0 + x1) / 2)].mean().item())
    assert len(widths) > 10  # sizes vary
    assert max(greys[1]) < 70
    # The dark rectangle may cover the light one, whose box is the same then; the background, 110 to 140, never shows.
    assert all(grey > 180 or grey < 70 for grey in greys[0])
    assert np.mean(np.array(greys[0]) > 180) > 0.5


def test_crowds_and_pictures_without_boxes_are_left_out(drawn: Path, tmp_path: Path, tiny_cfg: CfgNode) -> None:
    data = changed(drawn, tmp_path, {"iscrowd": 1})
    found = {sample.picture.id: sample for sample in samples(data, data.pictures, [3, 7])}
    assert [len(found[id].annotations) for id in (1, 2)] == [1, 2]
    assert [annotation["category_id"] for annotation in found[2].annotations] == [0, 1]
    for annotation in data.coco.imgToAnns[1]:
        annotation["iscrowd"] = 1
    assert 1 not in {sample.picture.id for sample in samples(data, data.pictures, [3, 7])}
    with pytest.raises(TrainingError, match="found none in 1 pictures"):
        samples(data, data.pictures[:1], [3, 7])


@pytest.mark.parametrize(
    "change", [{"bbox": None}, {"bbox": ["a", 1, 2, 3]}, {"category_id": 4}, {"category_id": None}]
)
def test_a_malformed_annotation_names_the_picture(drawn: Path, tmp_path: Path, change: dict[str, object]) -> None:
    data = changed(drawn, tmp_path, change)
    with pytest.raises(PictureError, match=r"^annotations of 1\.png: expected width and height"):
        samples(data, data.pictures, [3, 7])


def test_categories_must_fit_the_config(data: CocoData, tiny_cfg: CfgNode) -> None:
    assert category_ids(data, tiny_cfg) == [3, 7]
    cfg = tiny_cfg.clone()
    cfg.defrost()
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 80
    with pytest.raises(
        TrainingError, match=r"expected 80 categories, .*NUM_CLASSES says, found 2\. Give a --config whose .* is 2"
    ):
        category_ids(data, cfg)


def test_a_picture_of_another_size_than_annotated_is_an_error(drawn: Path, tmp_path: Path, tiny_cfg: CfgNode) -> None:
    data = changed(drawn, tmp_path, {"height": 71}, of="images")
    batches = StepBatches(samples(data, data.pictures[:1], [3, 7]), tiny_cfg, RECIPE)
    with pytest.raises(PictureError, match=r"1\.png: expected height and width \(71, 96\), .* found \(72, 96\)"):
        next(load_batches(batches, range(1)))


def test_a_corrupt_picture_is_one_plain_error_out_of_the_loader(drawn: Path, tmp_path: Path, tiny_cfg: CfgNode) -> None:
    shutil.copytree(drawn, tmp_path / "copy")
    path = tmp_path / "copy" / "images" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    data = CocoData(path.parent, tmp_path / "copy" / "annotations.json")
    batches = StepBatches(samples(data, data.pictures[:1], [3, 7]), tiny_cfg, RECIPE)
    with pytest.raises(PictureError, match=r"1\.png: expected a picture, found a corrupt one") as caught:
        next(load_batches(batches, range(1)))
    assert "Traceback" not in str(caught.value)
