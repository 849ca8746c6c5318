"""What the trainings of all reconstruction networks share: crops, the detector's view, the state, the first weights."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor, nn
from torch.optim import Adam

from keyfpn.detector.model import Model
from keyfpn.reconstruct.layers import REBUILT, Standardize, TopDown
from keyfpn.training.detector.data import hold_out, load_batches
from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.checkpoint import TrainingState

from .crops import CropBatches
from .detector_view import DetectorView
from .probe import Probe
from .recipe import ReconstructionRecipe

_STATISTICS_BATCHES = 16
"""Of train pictures: for the means and deviations that a new network starts with."""


class Scene:
    """A frozen detector and the pictures that a network is trained and tried on."""

    def __init__(self, model: Model, pictures: Sequence[Path], recipe: ReconstructionRecipe) -> None:
        """Build the detector and divide the pictures.

        Raises:
            TrainingError: too few pictures.
        """
        self.model, self.detector = model, build_network(model)
        self.training_pictures, self.held_out = hold_out(pictures, recipe.holdout, lambda path: path.name)
        self.crops = CropBatches(
            self.training_pictures,
            model.cfg,
            batch=recipe.batch,
            side=recipe.side,
            short_side=recipe.short_side,
            seed=recipe.seed,
        )
        self.view = DetectorView(self.detector, recipe.precision)
        self.probe = Probe(model, self.detector, self.held_out, recipe.precision)

    def batches(self, steps: range) -> Generator[Tensor]:
        """The crops of steps."""
        return load_batches(self.crops, steps)

    def sample(self) -> dict[str, Tensor]:
        """The features of some train pictures, for statistics."""
        pictures = torch.cat([self.crops[step] for step in range(_STATISTICS_BATCHES)])
        return self.view.observe(pictures).features


def start_standardize(layers: nn.ModuleDict, features: Mapping[str, Tensor]) -> None:
    """Set the means and deviations of :class:`~keyfpn.reconstruct.layers.Standardize` layers, by level."""
    for level, layer in layers.items():
        assert isinstance(layer, Standardize)
        values = features[level].float()
        layer.set(values.mean((0, 2, 3)), values.std((0, 2, 3)))


def start_top_down(top_down: TopDown, detector: GeneralizedRCNN, features: Mapping[str, Tensor]) -> None:
    """Give a new top-down path the detector's output convolutions, and the scale of what its laterals add."""
    above: Tensor | None = None
    with torch.no_grad():
        for place, level in enumerate(reversed(REBUILT)):
            output = getattr(detector.backbone, f"fpn_output{level[1:]}")
            top_down.outputs[place].load_state_dict(output.state_dict())
            inner = features[f"inner{level[1:]}"].float()
            lateral = inner if above is None else inner - F.interpolate(above, scale_factor=2.0, mode="nearest")
            top_down.lateral_scale[place].copy_(lateral.std((0, 2, 3)).view(-1, 1, 1))
            above = inner


def training_state(
    network: nn.Module, recipe: ReconstructionRecipe, groups: Sequence[dict[str, Any]] | None = None
) -> TrainingState:
    """The state of a run before its first step.

    Args:
        network: with its initial weights.
        recipe: how to train.
        groups: parameter groups with learning rates of their own; all at the recipe's rate without.
    """
    optimizer = Adam(groups or network.parameters(), lr=recipe.learning_rate)
    return TrainingState(
        model=network,
        average=moving_average(network, recipe.average_decay),
        optimizer=optimizer,
        learning_rate=recipe.learning_rate_at,
        clip_norm=recipe.clip_norm,
    )
