"""Trains the learned codec against a frozen detector: rate and distortion, no labels."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.detector.torch.autocast import autocast
from keyfpn.protocol.latent import LatentCoder
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.shape import Shape
from keyfpn.reconstruct.learned.weights import read_network
from keyfpn.training.codecs.distortion import distortion, level_errors
from keyfpn.training.codecs.probe import Trial
from keyfpn.training.codecs.scene import Scene
from keyfpn.training.codecs.start import (
    ParameterGroup,
    ready_to_train,
    start_standardize,
    start_top_down,
    training_state,
)
from keyfpn.training.engine.checkpoint import TrainingState
from keyfpn.training.engine.loop import Figures

from .card import QualityFigures, codec_card
from .factorized import FactorizedPrior
from .linear_start import start_linear, started_parameters
from .publish import publish_codec
from .recipe import CodecRecipe
from .tables import LARGEST_SYMBOL, Symbols, fit_entropy_models


class CodecTraining:
    """A codec's training as a :class:`keyfpn.training.engine.loop.Task`."""

    shown_losses = ("rate",)

    def __init__(
        self,
        model: Model,
        pictures: Sequence[Path],
        recipe: CodecRecipe,
        initial: Model | None = None,
        device: str = "cpu",
    ) -> None:
        """Prepare a codec's training.

        Args:
            model: the detector, which stays as it is.
            pictures: to train on, and to hold out a few of.
            recipe: how to train.
            initial: the model whose codec to start from, of this shape or another; None for none.
            device: where to train, as torch names devices.

        Raises:
            ModelError: the initial model has no codec, or there is no such device.
            TrainingError: too few pictures.
        """
        self._recipe, self._scene, self._initial = recipe, Scene(model, pictures, recipe, device), initial
        codec = self._new_codec()
        self.not_taken = [] if initial is None else read_network(initial, codec)
        """Parameters that the codec to start from does not have in their size."""
        codec = ready_to_train(codec, self._scene.detector.device)
        self.state: TrainingState[CodecNetwork] = training_state(codec, recipe, _groups(codec, recipe))

    def _new_codec(self) -> CodecNetwork:
        torch.manual_seed(self._recipe.seed)
        detector = self._scene.detector
        fpn = detector.backbone
        codec = CodecNetwork(Shape(fpn.output_shape()["p2"].channels, fpn.bottom_up.output_shape()["res2"].channels))
        features = self._scene.sample()
        start_standardize(codec.analysis.standardize, features)
        start_top_down(codec.synthesis.top_down, detector, features)
        trade_offs = [self._recipe.trade_off(quality) for quality in range(1, codec.shape.qualities + 1)]
        start_linear(codec, detector, features, trade_offs)
        return codec

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
        figures, _ = self._measure([1, (qualities + 1) // 2, qualities])
        return figures

    def _measure(self, qualities: Sequence[int]) -> tuple[Figures, dict[int, list[float]]]:
        """Figures, and for each quality the errors of p2 … p5."""
        codec = self.state.averaged
        errors: dict[int, list[list[float]]] = {quality: [] for quality in qualities}
        ways = {f"q{quality}": partial(_send, codec, quality, errors[quality]) for quality in qualities}
        return self._scene.probe.measure(ways), {quality: _means(rows) for quality, rows in errors.items()}

    def publish(self, folder: Path) -> Figures:
        """Write detector and codec as a model folder; the codec's figures on held-out pictures at every quality."""
        codec = self.state.averaged
        figures, errors = self._measure(range(1, codec.shape.qualities + 1))
        symbols = self._symbols(codec, self._scene.training_pictures[: self._recipe.table_pictures])
        models = fit_entropy_models(codec, symbols)
        card = codec_card(
            self._recipe,
            self._compare(codec, figures, errors, LatentCoder(models), symbols),
            initial=self._initial,
            steps=self.state.step,
            seconds=self.state.seconds,
            training_pictures=len(self._scene.training_pictures),
        )
        publish_codec(self._scene.model, codec, models, card, folder)
        return figures

    def _compare(
        self,
        codec: CodecNetwork,
        figures: Figures,
        errors: Mapping[int, Sequence[float]],
        coder: LatentCoder,
        trained: Sequence[Symbols],
    ) -> list[QualityFigures]:
        """What held-out pictures take, as estimated, by the tables, and without context; and what they lose."""
        factorized = FactorizedPrior(trained, coder.max_symbols)
        held_out = self._symbols(codec, self._scene.held_out)
        compared = []
        for quality in range(1, codec.shape.qualities + 1):
            latents = [_cut_off(latents, coder.max_symbols) for latents, found in held_out if found == quality]
            compared.append(
                QualityFigures(
                    figures[f"agreement q{quality}"],
                    8000 * (figures[f"kB q{quality}"] or 0.0),
                    _means([coder.information(picture, quality) for picture in latents]),
                    _live_channels(latents),
                    fmean(factorized.information((picture, quality)) for picture in latents),
                    dict(zip(REBUILT, errors[quality], strict=True)),
                )
            )
        return compared

    def _symbols(self, codec: CodecNetwork, pictures: Sequence[Path]) -> list[Symbols]:
        """The symbols of pictures at every quality; in 16 bits, because they are kept all at once."""
        found: list[Symbols] = []
        for path in pictures:
            features = self._scene.probe.look(path).features
            device = features["p5"].device
            with torch.inference_mode():
                with autocast(device, self._recipe.precision):
                    latents = codec.analysis(features)
                for quality in range(codec.shape.qualities):
                    scaled = codec.gains.scale(latents, torch.tensor([quality], device=device))
                    rounded = [torch.round(y[0]).clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL) for y in scaled]
                    found.append(([y.to("cpu", torch.int16).numpy() for y in rounded], quality + 1))
        return found


def _groups(codec: CodecNetwork, recipe: CodecRecipe) -> list[ParameterGroup]:
    started = started_parameters(codec)
    new = {*codec.analysis.parameters(), *codec.synthesis.parameters()}.difference(started)
    entropy = [*codec.priors.parameters(), *codec.gains.parameters()]
    return [
        {"params": [weights for weights in codec.parameters() if weights in new]},
        {"params": started, "lr": recipe.started_learning_rate},
        {"params": entropy, "lr": recipe.entropy_learning_rate},
    ]


def _cut_off(latents: Sequence[NDArray[np.int16]], bounds: Sequence[int]) -> list[NDArray[np.int16]]:
    """As the edge does with symbols beyond the tables."""
    return [latent.clip(-bound, bound) for latent, bound in zip(latents, bounds, strict=True)]


def _live_channels(pictures: Sequence[Sequence[NDArray[np.int16]]]) -> list[int]:
    """How many channels of each latent are not zero throughout."""
    return [
        int(np.any([latent.any((1, 2)) for latent in of_place], axis=0).sum())
        for of_place in zip(*pictures, strict=True)
    ]


def _means(rows: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]


def _send(codec: CodecNetwork, quality: int, errors: list[list[float]], features: Mapping[str, Tensor]) -> Trial:
    """Try a quality on a picture; the errors of its levels are added to ``errors``."""
    passage = codec(features, torch.tensor([quality - 1], device=features["p5"].device))
    errors.append(torch.stack(list(level_errors(features, passage.pyramid).values())).tolist())
    return Trial(passage.pyramid, float(sum(latent.sum() for latent in passage.bits)))
