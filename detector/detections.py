"""What a detector finds in one picture, as plain arrays: for the wire, COCO files and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from PIL import Image
from torchvision.utils import draw_bounding_boxes


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, best first."""

    boxes: np.ndarray
    """(N, 4) float32: x0, y0, x1, y1 in pixels of the original picture."""
    scores: np.ndarray
    """(N,) float32, 0 to 1."""
    classes: np.ndarray
    """(N,) int64 class indices, from 0."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_instances(cls, instances: Instances) -> Detections:
        """Take detectron2's result."""
        return cls(
            instances.pred_boxes.tensor.float().numpy(),
            instances.scores.float().numpy(),
            instances.pred_classes.numpy(),
        )

    def above(self, score: float) -> Detections:
        """Those of at least ``score``."""
        keep = self.scores >= score
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """The COCO results format: boxes as x, y, width, height.

        Args:
            image_id: the picture's id in the annotations.
            category_ids: category id of each class index.
        """
        corners = self.boxes.astype(float)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return [
            {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
            for box, score, label in zip(boxes.tolist(), self.scores.tolist(), self.classes.tolist(), strict=True)
        ]

    def draw(self, picture: np.ndarray, class_names: Sequence[str], *, score: float = 0.5) -> Image.Image:
        """Draw the boxes of at least ``score`` on (H, W, 3) uint8 RGB, named and with their scores."""
        shown = self.above(score)
        if not len(shown):
            return Image.fromarray(picture)
        names = [
            f"{class_names[label]} {s:.2f}"
            for label, s in zip(shown.classes.tolist(), shown.scores.tolist(), strict=True)
        ]
        drawn = draw_bounding_boxes(
            torch.as_tensor(np.ascontiguousarray(picture.transpose(2, 0, 1))),
            torch.as_tensor(shown.boxes),
            labels=names,
            colors=[_PALETTE[label % len(_PALETTE)] for label in shown.classes.tolist()],
            width=max(2, min(picture.shape[:2]) // 200),
            fill_labels=True,
        )
        return Image.fromarray(drawn.permute(1, 2, 0).numpy())


# Tableau 10: a class keeps its colour from picture to picture.
_PALETTE = (
    "#4e79a7",
    "#f28e2b",
    "#e15759",
    "#76b7b2",
    "#59a14f",
    "#edc948",
    "#b07aa1",
    "#ff9da7",
    "#9c755f",
    "#bab0ac",
)
