"""Trains the network that rebuilds a pyramid from its key levels, against a frozen detector, without labels."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.detector.torch.autocast import autocast
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.reconstruct.network.network import NetworkShape, ReconstructionNetwork
from keyfpn.training.codecs.distortion import distortion
from keyfpn.training.codecs.probe import Trial
from keyfpn.training.codecs.recipe import ReconstructionRecipe
from keyfpn.training.codecs.scene import Scene
from keyfpn.training.codecs.start import ready_to_train, start_standardize, start_top_down, training_state
from keyfpn.training.engine.loop import Figures

from .publish import publish_network

Keys = tuple[str, ...]
MAIN_KEYS: Keys = ("p3", "p5")
KEY_SETS: tuple[Keys, ...] = tuple(keys for size in (1, 2, 3) for keys in combinations(REBUILT, size))
_MAIN_SHARE = 0.4
"""Of the steps that train the main key set; the others draw from all."""
_PROBED: tuple[Keys, ...] = (MAIN_KEYS, ("p3",), ("p4",))


class NetworkTraining:
    """A reconstruction network's training as a :class:`keyfpn.training.engine.loop.Task`."""

    shown_losses = ()

    def __init__(
        self, model: Model, pictures: Sequence[Path], recipe: ReconstructionRecipe, device: str = "cpu"
    ) -> None:
        """Prepare a training.

        Args:
            model: the detector, which stays as it is.
            pictures: to train on, and to hold out a few of.
            recipe: how to train.
            device: where to train, as torch names devices.

        Raises:
            ModelError: there is no such device.
            TrainingError: too few pictures.
        """
        self._recipe, self._scene = recipe, Scene(model, pictures, recipe, device)
        torch.manual_seed(recipe.seed)
        detector, features = self._scene.detector, self._scene.sample()
        network = ReconstructionNetwork(NetworkShape(features["p2"].shape[1]))
        start_standardize(network.standardize, features)
        start_top_down(network.top_down, detector, features)
        self.state = training_state(ready_to_train(network, detector.device), recipe)

    def batches(self, steps: range) -> Generator[Tensor]:
        """The crops of steps."""
        return self._scene.batches(steps)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """The distortion of what is rebuilt from key levels drawn for the step."""
        view, recipe = self._scene.view, self._recipe
        truth = view.observe(batch)
        drawn = KEY_SETS[int(torch.randint(len(KEY_SETS), ()))]
        keys = MAIN_KEYS if float(torch.rand(())) < _MAIN_SHARE else drawn
        with autocast(truth.objectness.device, recipe.precision):
            rebuilt = _rebuild(self.state.model, keys, truth.features)
        return distortion(view, truth, rebuilt, recipe.weights)

    def evaluate(self) -> Figures:
        """Agreement of the averaged weights on held-out pictures, from a few key sets."""
        return self._measure(_PROBED)

    def publish(self, folder: Path) -> Figures:
        """Write detector and network as a model folder; agreement on held-out pictures, from every key set."""
        figures = self._measure(KEY_SETS)
        publish_network(self._scene.model, self.state.averaged, folder)
        return figures

    def _measure(self, key_sets: Sequence[Keys]) -> Figures:
        network = self.state.averaged
        return self._scene.probe.measure({"+".join(keys): partial(_try, network, keys) for keys in key_sets})


def _rebuild(network: ReconstructionNetwork, keys: Keys, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rebuilt pyramid, the key levels as they came, all of their type: ROI heads pool from one type alone."""
    sent = {level: features[level] for level in keys}
    return {level: feature.to(sent[keys[0]].dtype) for level, feature in network(sent).items()} | sent


def _try(network: ReconstructionNetwork, keys: Keys, features: Mapping[str, Tensor]) -> Trial:
    return Trial(_rebuild(network, keys, features), None)
