"""Data in COCO format, and AP by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .errors import PictureError


@dataclass(frozen=True)
class Picture:
    """A picture of a data set."""

    id: int
    path: Path


@dataclass(frozen=True)
class Metrics:
    """COCO box AP in points, 0 to 100; NaN where no annotation is of that size."""

    AP: float
    AP50: float
    APs: float
    APm: float
    APl: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON: rounded to 0.001 points, None for NaN."""
        return {name: None if np.isnan(value) else round(value, 3) for name, value in asdict(self).items()}


class CocoData:
    """A folder of pictures with annotations in COCO's JSON."""

    def __init__(self, images: Path, annotations: Path, *, limit: int | None = None) -> None:
        """Read the annotations and look for the pictures.

        Args:
            images: the folder of the pictures.
            annotations: COCO JSON with ``images``, ``annotations`` and ``categories``.
            limit: take the first so many pictures, by id.

        Raises:
            PictureError: a file or folder is missing, the JSON is no COCO JSON, or pictures it names are not there.
        """
        if not images.is_dir():
            raise PictureError(str(images), "the folder of the pictures", "none")
        self.coco = _read_annotations(annotations)
        ids = sorted(self.coco.imgs)[:limit]
        self.pictures = [Picture(id, images / self.coco.imgs[id]["file_name"]) for id in ids]
        missing = [picture.path.name for picture in self.pictures if not picture.path.is_file()]
        if missing or not ids:
            found = f"{len(missing)} of {len(ids)} missing, such as {missing[0]}" if missing else "that it names none"
            raise PictureError(str(images), f"the pictures that {annotations.name} names", found)

    @property
    def image_ids(self) -> list[int]:
        return [picture.id for picture in self.pictures]

    def match(self, results: Sequence[dict[str, Any]]) -> COCOeval:
        """Match detections with the annotations.

        Args:
            results: COCO results, as :meth:`Detections.to_coco` gives them, of all pictures.

        Returns:
            The evaluation after ``evaluate()``: its ``evalImgs`` hold every picture's matches.
        """
        return match(self.coco, results, self.image_ids)

    def evaluate(self, results: Sequence[dict[str, Any]]) -> Metrics:
        """AP of the detections on all pictures."""
        return summarize(self.match(results))


def match(truth: COCO, results: Sequence[dict[str, Any]], image_ids: Sequence[int]) -> COCOeval:
    """As :meth:`CocoData.match`, against any ground truth."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        found = truth.loadRes(list(results)) if results else COCO()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
    return evaluation


def summarize(evaluation: COCOeval) -> Metrics:
    """AP in points out of matched detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    values = (100 * float(evaluation.stats[index]) for index in (0, 1, 3, 4, 5))
    return Metrics(*(value if value >= 0 else float("nan") for value in values))


def as_ground_truth(results: Sequence[dict[str, Any]], like: COCO) -> COCO:
    """Take detections for annotations, so that others can be measured against them.

    Args:
        results: COCO results.
        like: the data set whose images and categories they belong to.
    """
    annotations = [
        {**result, "id": index, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
        for index, result in enumerate(results, start=1)
    ]
    truth = COCO()
    truth.dataset = {key: like.dataset[key] for key in ("images", "categories")} | {"annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _read_annotations(path: Path) -> COCO:
    try:
        document = json.loads(path.read_bytes())
        for key in ("images", "annotations", "categories"):
            document[key]
        coco = COCO()
        coco.dataset = document
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco
    except FileNotFoundError as error:
        raise PictureError(str(path), "an annotation file", "none of that name") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PictureError(str(path), "COCO JSON with images, annotations and categories", repr(error)) from error
