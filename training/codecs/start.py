"""What every reconstruction network's training starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict, TypeVar

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor, nn
from torch.optim import Adam
from typing_extensions import NotRequired

from keyfpn.reconstruct.layers import REBUILT, Standardize, TopDown
from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.checkpoint import TrainingState

from .recipe import ReconstructionRecipe

Network = TypeVar("Network", bound=nn.Module)


class ParameterGroup(TypedDict):
    """Parameters with a learning rate of their own, or with the recipe's."""

    params: list[nn.Parameter]
    lr: NotRequired[float]


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


def ready_to_train(network: Network, device: torch.device) -> Network:
    """The same network on a device, ``channels_last``, in training mode."""
    moved: Network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch forgot
    return moved.train()


def training_state(
    network: Network, recipe: ReconstructionRecipe, groups: Iterable[ParameterGroup] = ()
) -> TrainingState[Network]:
    """The state of a run before its first step.

    Args:
        network: with its initial weights.
        recipe: how to train.
        groups: of all parameters; without any, all have the recipe's learning rate.
    """
    optimizer = Adam([dict(group) for group in groups] or network.parameters(), lr=recipe.learning_rate)
    return TrainingState(
        model=network,
        average=moving_average(network, recipe.average_decay),
        optimizer=optimizer,
        learning_rate=recipe.learning_rate_at,
        clip_norm=recipe.clip_norm,
    )
