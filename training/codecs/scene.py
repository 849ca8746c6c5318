"""A frozen detector and the pictures that a reconstruction network is trained and tried on."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.torch.network import build_network
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.training.engine.batches import load_batches
from keyfpn.training.engine.holdout import hold_out

from .crops import CropBatches
from .detector_view import DetectorView
from .probe import Probe
from .recipe import ReconstructionRecipe

_STATISTICS_BATCHES = 16
"""Of train pictures: for the means and deviations that a new network starts with."""


class Scene:
    """A frozen detector and the pictures that a network is trained and tried on."""

    def __init__(self, model: Model, pictures: Sequence[Path], recipe: ReconstructionRecipe, device: str) -> None:
        """Build the detector and divide the pictures.

        Raises:
            ModelError: there is no such device, the detector cannot be built, or it has other levels than the networks.
            TrainingError: too few pictures.
        """
        if model.pyramid.independent != REBUILT:
            found = ", ".join(model.pyramid.independent)
            raise ModelError(
                f"pyramid of {model.name}", f"the levels that networks rebuild, {', '.join(REBUILT)}", found
            )
        self.model, self.detector = model, build_network(model, device)
        self.training_pictures, self.held_out = hold_out(pictures, recipe.holdout, lambda path: path.name)
        self._crops = CropBatches(
            self.training_pictures,
            model.preprocessor,
            batch=recipe.batch,
            side=recipe.side,
            short_side=recipe.short_side,
            seed=recipe.seed,
        )
        self.view = DetectorView(self.detector, model.pyramid, recipe.precision)
        self.probe = Probe(model, self.detector, self.held_out, recipe.precision)

    def batches(self, steps: range) -> Generator[Tensor]:
        """The crops of steps."""
        return load_batches(self._crops, steps)

    def sample(self) -> dict[str, Tensor]:
        """The features of some train pictures, for statistics.

        Raises:
            PictureError: one of the pictures cannot be read.
        """
        pictures = [self._crops.crops(step) for step in range(_STATISTICS_BATCHES)]
        return self.view.observe(torch.cat(pictures)).features
