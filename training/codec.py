"""Trains the learned codec against a frozen detector: rate and distortion, no labels."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from detector.model import DetectorModel
from detector.split import autocast
from reconstruct.learned.files import read_network
from reconstruct.learned.network import CodecNetwork, Shape

from .distortion import distortion
from .loop import Figures
from .probe import Trial
from .publish import publish_codec
from .reconstruction import Scene, start_standardize, start_top_down, training_state
from .reconstruction_recipe import CodecRecipe
from .tables import Frame, fit_entropy_models


class CodecTraining:
    """A codec's training as a :class:`training.loop.Task`."""

    def __init__(
        self, model: DetectorModel, pictures: Sequence[Path], recipe: CodecRecipe, initial: Path | None = None
    ) -> None:
        """Prepare a codec's training.

        Args:
            model: the detector, which stays as it is.
            pictures: to train on, and to hold out a few of.
            recipe: how to train.
            initial: the model folder of a codec to start from; None starts anew.

        Raises:
            ModelError: the folder has no codec for this detector.
            TrainingError: too few pictures.
        """
        self._recipe, self._scene = recipe, Scene(model, pictures, recipe)
        codec = self._initial(initial)
        groups = [
            {"params": [*codec.analysis.parameters(), *codec.synthesis.parameters()]},
            {"params": [*codec.priors.parameters(), *codec.gains.parameters()], "lr": recipe.entropy_learning_rate},
        ]
        self.state = training_state(codec, recipe, groups)

    def _initial(self, folder: Path | None) -> CodecNetwork:
        torch.manual_seed(self._recipe.seed)
        detector = self._scene.detector
        fpn = detector.backbone
        codec = CodecNetwork(Shape(fpn.output_shape()["p2"].channels, fpn.bottom_up.output_shape()["res2"].channels))
        if folder is None:
            features = self._scene.sample()
            start_standardize(codec.analysis.standardize, features)
            start_top_down(codec.synthesis.top_down, detector, features)
        else:
            read_network(folder, codec)
        return codec.to(detector.device, memory_format=torch.channels_last).train()

    def batches(self, steps: range) -> Generator[Tensor]:
        """The crops of steps."""
        return self._scene.batches(steps)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """Rate and distortion at a quality drawn for the step, scaled alike for all qualities."""
        codec, recipe, view = self.state.model, self._recipe, self._scene.view
        truth = view.observe(batch)
        quality = int(torch.randint(codec.shape.qualities, ()))
        with autocast(truth.objectness.device, recipe.precision):
            passage = codec(truth.features, torch.full((len(batch),), quality, device=truth.objectness.device))
        pixels = batch[:, 0].numel()
        lagrangian = math.sqrt(recipe.trade_off(quality + 1))
        losses = {"rate": torch.stack(passage.bits).sum() / pixels / lagrangian}
        for name, part in distortion(view, truth, passage.pyramid, recipe.weights).items():
            losses[name] = lagrangian * part
        return losses

    def evaluate(self) -> Figures:
        """Bytes and agreement of the averaged weights on held-out pictures, at three qualities; bytes as estimated."""
        qualities = self.state.model.shape.qualities
        return self._measure([1, (qualities + 1) // 2, qualities])

    def _measure(self, qualities: Sequence[int]) -> Figures:
        codec = self.state.average.module.eval()
        return self._scene.probe.measure({f"q{quality}": partial(_send, codec, quality) for quality in qualities})

    def publish(self, folder: Path) -> Figures:
        """Write detector and codec as a model folder; the codec's figures on held-out pictures at every quality."""
        codec = self.state.average.module.eval()
        figures = self._measure(range(1, codec.shape.qualities + 1))
        models = fit_entropy_models(codec, self._frames(codec))
        publish_codec(self._scene.model, codec, models, folder)
        return figures

    def _frames(self, codec: CodecNetwork) -> list[Frame]:
        """The symbols of train pictures at every quality; in 16 bits, because they are kept all at once."""
        frames: list[Frame] = []
        for path in self._scene.training_pictures[: self._recipe.table_pictures]:
            features = self._scene.probe.look(path).features
            device = features["p5"].device
            with torch.inference_mode(), autocast(device, self._recipe.precision):
                latents = codec.analysis(features)
            for quality in range(codec.shape.qualities):
                with torch.inference_mode():
                    scaled = codec.gains.scale(latents, torch.tensor([quality], device=device))
                frames.append(([torch.round(y[0]).to("cpu", torch.int16).numpy() for y in scaled], quality + 1))
        return frames


def _send(codec: CodecNetwork, quality: int, features: Mapping[str, Tensor]) -> Trial:
    passage = codec(features, torch.tensor([quality - 1], device=features["p5"].device))
    return Trial(passage.pyramid, float(sum(latent.sum() for latent in passage.bits)))
