"""Pictures without labels as batches of square crops: each step's batch follows from the seed and the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.data import transforms as T
from torch import Tensor
from torch.utils.data import Dataset

from keyfpn.detector.errors import PictureError
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.training.engine.batches import positions, seed_global_draws


class CropBatches(Dataset[Tensor | PictureError]):
    """Item ``step`` is the batch of that step: (N, 3, side, side) uint8, in the detector's channel order.

    Each picture is resized so that its short side is a random part of the detector's test size, cropped, and flipped
    half of the time. The crops are square so that they make a batch.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        preprocessor: Preprocessor,
        *,
        batch: int,
        side: int,
        short_side: tuple[float, float],
        seed: int,
    ) -> None:
        """Take the pictures and what is done with them.

        Args:
            pictures: files.
            preprocessor: of the detector.
            batch: pictures in a batch.
            side: of the crops, in pixels, at most the shortest short side.
            short_side: its range, as a part of the detector's test size.
            seed: of every random draw.
        """
        self._pictures, self._batch, self._seed = pictures, batch, seed
        self._preprocessor = preprocessor
        short = [max(side, round(part * preprocessor.short_side)) for part in short_side]
        self._augmentations = T.AugmentationList(
            [
                T.ResizeShortestEdge(short, sample_style="range"),
                T.RandomCrop("absolute", (side, side)),
                T.RandomFlip(),
            ]
        )

    def __getitem__(self, step: int) -> Tensor | PictureError:
        """The batch of a step; an error is handed over, not raised, because a worker process would wrap it."""
        try:
            return self.crops(step)
        except PictureError as error:
            return error

    def crops(self, step: int) -> Tensor:
        """The batch of a step.

        Raises:
            PictureError: a picture cannot be read.
        """
        seed_global_draws(self._seed, step)
        chosen = positions(step, self._batch, len(self._pictures), self._seed)
        return torch.stack([self._augmented(self._pictures[position]) for position in chosen])

    def _augmented(self, path: Path) -> Tensor:
        augmented = T.AugInput(read_picture(path))
        self._augmentations(augmented)
        return torch.from_numpy(self._preprocessor.to_input(augmented.image))
