"""What a detector finds in one picture, as plain arrays: on the wire, in files, in drawings and in users' programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelMap:
    """What class indices mean: entry i of both belongs to class i.

    Attributes:
        names: of the classes.
        category_ids: COCO's, of the classes.
    """

    names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "category_ids", tuple(self.category_ids))
        if len(self.names) != len(self.category_ids):
            raise ValueError(f"expected a category id per name, found {len(self.category_ids)} for {len(self.names)}")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one picture, the best first.

    >>> found = Detections(
    ...     np.float32([[10, 20, 110, 220], [0, 0, 5, 5]]), np.float32([0.9, 0.2]), np.int64([0, 1]),
    ...     LabelMap(("person", "dog"), (1, 18)),
    ... )
    >>> found.names
    ['person', 'dog']
    >>> len(found.above(0.5))
    1
    >>> found.above(0.5).to_coco(image_id=7)
    [{'image_id': 7, 'category_id': 1, 'bbox': [10.0, 20.0, 100.0, 200.0], 'score': 0.8999999761581421}]

    Attributes:
        boxes: (N, 4) float32: x0, y0, x1, y1 in pixels of the original picture.
        scores: (N,) float32, 0 to 1.
        classes: (N,) int64, class indices from 0.
        label_map: what the class indices mean; empty where nobody knows.
        masks: (N, H, W) bool, in the picture's own size; None for a detector without masks.
        keypoints: (N, K, 3) float32: x, y and score of each of K points; None for a detector without key points.

    Raises:
        ValueError: arrays that do not go together.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    label_map: LabelMap = LabelMap()
    masks: NDArray[np.bool_] | None = None
    keypoints: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.scores)
        arrays: dict[str, NDArray[Any] | None] = {
            "boxes": self.boxes,
            "classes": self.classes,
            "masks": self.masks,
            "keypoints": self.keypoints,
        }
        wrong = [name for name, array in arrays.items() if array is not None and len(array) != count]
        if wrong or self.boxes.shape != (count, 4):
            shapes = {name: array.shape for name, array in arrays.items() if array is not None}
            raise ValueError(f"expected 4 numbers and a class for each of {count} scores, found shapes {shapes}")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The name of each object's class; ``class 3`` where the label map has none."""
        known = self.label_map.names
        return [known[index] if index < len(known) else f"class {index}" for index in self.classes.tolist()]

    def above(self, score: float) -> "Detections":
        """Those of at least ``score``."""
        keep = self.scores >= score
        parts = {name: getattr(self, name) for name in ("boxes", "scores", "classes", "masks", "keypoints")}
        return replace(self, **{name: part[keep] for name, part in parts.items() if part is not None})

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The boxes in COCO's results format, each as x, y, width, height.

        Args:
            image_id: the picture's id in the annotations.
            category_ids: category id of each class index; those of the label map unless given.

        Raises:
            ValueError: there is no category id of a class.
        """
        ids = self.label_map.category_ids if category_ids is None else category_ids
        if len(self) and self.classes.max() >= len(ids):
            raise ValueError(f"expected a category id for class {self.classes.max()}, found {len(ids)} ids")
        corners = self.boxes.astype(float)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return [
            {"image_id": image_id, "category_id": ids[label], "bbox": box, "score": score}
            for box, score, label in zip(boxes.tolist(), self.scores.tolist(), self.classes.tolist(), strict=True)
        ]
