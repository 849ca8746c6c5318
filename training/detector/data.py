"""COCO data as batches for detectron2: each step's batch is a function of the seed and the step's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.detection_utils import (
    annotations_to_instances,
    filter_empty_instances,
    transform_instance_annotations,
)
from detectron2.structures import BoxMode
from torch.utils.data import Dataset

from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.errors import PictureError
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.training.engine.batches import positions, seed_global_draws
from keyfpn.training.engine.errors import TrainingError

from .recipe import Recipe

Batch = list[dict[str, Any]]
"""What a detectron2 model takes for training: ``image`` (3, H, W) uint8 and ``instances`` for each picture."""


@dataclass(frozen=True)
class Sample:
    """A picture with its boxes."""

    picture: Picture
    size: tuple[int, int]
    """(height, width) that the boxes belong to."""
    annotations: list[dict[str, Any]]
    """As detectron2 takes them, crowds left out; ``category_id`` is the class index."""


def category_ids(data: CocoData, cfg: CfgNode) -> list[int]:
    """The category id of each class index: the data's own ids, sorted.

    Raises:
        TrainingError: the config's ``MODEL.ROI_HEADS.NUM_CLASSES`` is another count.
    """
    ids = sorted(data.coco.cats)
    if len(ids) != cfg.MODEL.ROI_HEADS.NUM_CLASSES:
        raise TrainingError(
            "annotations",
            f"{cfg.MODEL.ROI_HEADS.NUM_CLASSES} categories, as the config's MODEL.ROI_HEADS.NUM_CLASSES says",
            len(ids),
            f"Give a --config whose NUM_CLASSES is {len(ids)}.",
        )
    return ids


def samples(data: CocoData, pictures: Sequence[Picture], ids: Sequence[int]) -> list[Sample]:
    """Gather the boxes of pictures; a picture without any is left out, as detectron2 does.

    Args:
        data: where the annotations are.
        pictures: which pictures.
        ids: the category id of each class index.

    Raises:
        PictureError: an annotation lacks a field or its category is not in ``ids``.
        TrainingError: no picture has a box.
    """
    index = {id: position for position, id in enumerate(ids)}
    found = []
    for picture in pictures:
        try:
            image = data.coco.imgs[picture.id]
            annotations = [
                {
                    "bbox": [float(side) for side in annotation["bbox"]],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": index[annotation["category_id"]],
                }
                for annotation in data.coco.imgToAnns[picture.id]
                if not annotation.get("iscrowd", 0)
            ]
            size = (int(image["height"]), int(image["width"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PictureError(
                f"annotations of {picture.path.name}",
                "width and height, and for each object a bbox of numbers and a category_id among the categories",
                repr(error),
            ) from error
        if annotations:
            found.append(Sample(picture, size, annotations))
    if not found:
        raise TrainingError("annotations", "boxes to train on", f"none in {len(pictures)} pictures")
    return found


class StepBatches(Dataset[Batch | PictureError]):
    """Augmented batches: item ``step`` is the batch of that step."""

    def __init__(self, samples: Sequence[Sample], cfg: CfgNode, recipe: Recipe) -> None:
        """Take the samples, the network's input format from the config, and the augmentation from the recipe."""
        self._samples = samples
        self._preprocessor = Preprocessor.of_config(cfg)
        self._batch, self._seed = recipe.batch, recipe.seed
        short = [round(part * cfg.INPUT.MIN_SIZE_TEST) for part in recipe.short_side]
        self._augmentations = T.AugmentationList(
            [
                T.RandomApply(T.RandomCrop("relative_range", (recipe.crop_side,) * 2), recipe.crop_probability),
                T.ResizeShortestEdge(short, cfg.INPUT.MAX_SIZE_TEST, "range"),
                T.RandomFlip(),
            ]
        )

    def __getitem__(self, step: int) -> Batch | PictureError:
        """The batch of a step; an error is handed over, not raised, because a worker process would wrap it."""
        seed_global_draws(self._seed, step)
        try:
            return [
                self._augmented(self._samples[position])
                for position in positions(step, self._batch, len(self._samples), self._seed)
            ]
        except PictureError as error:
            return error

    def _augmented(self, sample: Sample) -> dict[str, Any]:
        picture = read_picture(sample.picture.path)
        if picture.shape[:2] != sample.size:
            raise PictureError(
                str(sample.picture.path), f"height and width {sample.size}, as the annotations say", picture.shape[:2]
            )
        augmented = T.AugInput(picture)
        transforms = self._augmentations(augmented)
        size = augmented.image.shape[:2]
        moved = [transform_instance_annotations(dict(box), transforms, size) for box in sample.annotations]
        return {
            "image": torch.from_numpy(self._preprocessor.to_input(augmented.image)),
            "instances": filter_empty_instances(annotations_to_instances(moved, size)),
        }
