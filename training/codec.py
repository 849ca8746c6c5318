"""Trains the learned codec against a frozen detector: rate and distortion, no labels."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from detector.model import DetectorModel
from detector.split import autocast
from reconstruct.layers import REBUILT
from reconstruct.learned.files import read_network
from reconstruct.learned.network import CodecNetwork, Shape
from reconstruct.learned.transforms import KEY_LEVELS

from .average import moving_average
from .checkpoint import TrainingState
from .codec_recipe import CodecRecipe
from .crops import CropBatches, hold_out_files
from .data import load_batches
from .detector_view import DetectorView, Observation
from .loop import Figures
from .probe import Probe
from .publish import publish_codec
from .tables import fit_entropy_models

_STATISTICS_BATCHES = 16
"""Of train pictures: for the means and deviations that a new codec starts with."""


class CodecTraining:
    """A codec's training as a :class:`training.loop.Task`."""

    def __init__(
        self,
        model: DetectorModel,
        pictures: Sequence[Path],
        recipe: CodecRecipe,
        initial: Path | None = None,
    ) -> None:
        """Prepare a codec's training.

        Args:
            model: the detector, which stays as it is.
            pictures: to train on, and to hold out a few of.
            recipe: how to train.
            initial: the model folder of a codec to start from; None starts anew.

        Raises:
            TrainingError: too few pictures.
        """
        self._model, self._recipe = model, recipe
        self._training, held_out = hold_out_files(pictures, recipe.holdout)
        self._batches = crops(self._training, model.cfg, recipe)
        detector = model.build()
        self._view = DetectorView(detector, recipe.precision)
        self._probe = Probe(model, detector, held_out, recipe.precision)
        self.state = _training_state(self._initial(detector, initial), recipe)

    def _initial(self, detector: GeneralizedRCNN, folder: Path | None) -> CodecNetwork:
        torch.manual_seed(self._recipe.seed)
        fpn = detector.backbone
        codec = CodecNetwork(Shape(fpn.output_shape()["p2"].channels, fpn.bottom_up.output_shape()["res2"].channels))
        if folder is None:
            pictures = torch.cat([self._batches[step] for step in range(_STATISTICS_BATCHES)])
            start_from_detector(codec, detector, self._view.observe(pictures).features)
        else:
            read_network(folder, codec)
        return codec.to(detector.device, memory_format=torch.channels_last).train()

    def batches(self, steps: range) -> Generator[Tensor]:
        """The crops of steps."""
        return load_batches(self._batches, steps)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """Rate and distortion at a quality drawn for the step, scaled alike for all qualities."""
        codec, recipe = self.state.model, self._recipe
        truth = self._view.observe(batch)
        quality = int(torch.randint(codec.shape.qualities, ()))
        with autocast(truth.objectness.device, recipe.precision):
            passage = codec(truth.features, torch.full((len(batch),), quality, device=truth.objectness.device))
        pixels = batch[:, 0].numel()
        lagrangian = math.sqrt(recipe.trade_off(quality + 1))
        losses = {"rate": torch.stack(passage.bits).sum() / pixels / lagrangian}
        for name, difference in self._distortions(truth, passage.pyramid).items():
            losses[name] = lagrangian * difference
        return losses

    def _distortions(self, truth: Observation, pyramid: Mapping[str, Tensor]) -> dict[str, Tensor]:
        recipe = self._recipe
        weighed = {"feature": recipe.feature_weight * feature_error(truth.features, pyramid)}
        if recipe.rpn_weight or recipe.box_weight:
            seen = self._view.differences(truth, pyramid)
            weighed |= {"rpn": recipe.rpn_weight * seen["rpn"], "box": recipe.box_weight * seen["box"]}
        return weighed

    def evaluate(self) -> Figures:
        """Bytes and agreement of the averaged weights on held-out pictures, at three qualities; bytes as estimated."""
        codec = self.state.average.module.eval()
        return self._probe.measure(codec, (1, (codec.shape.qualities + 1) // 2, codec.shape.qualities))

    def publish(self, folder: Path) -> Figures:
        """Write detector and codec as a model folder; the codec's figures on held-out pictures at every quality."""
        codec = self.state.average.module.eval()
        figures = self._probe.measure(codec, range(1, codec.shape.qualities + 1))
        frames = self._probe.frames(codec, self._training[: self._recipe.table_pictures])
        models = fit_entropy_models(codec, frames)
        publish_codec(self._model, codec, models, folder)
        return figures


def feature_error(truth: Mapping[str, Tensor], pyramid: Mapping[str, Tensor]) -> Tensor:
    """The mean over p2 … p5 of the squared error, each level's by the variance of the true level in the batch."""
    errors = []
    for level in REBUILT:
        true = truth[level].float()
        errors.append(F.mse_loss(pyramid[level].float(), true) / true.var())
    return torch.stack(errors).mean()


def crops(pictures: Sequence[Path], cfg: CfgNode, recipe: CodecRecipe) -> CropBatches:
    """The recipe's batches of pictures."""
    return CropBatches(
        pictures, cfg, batch=recipe.batch, side=recipe.side, short_side=recipe.short_side, seed=recipe.seed
    )


def start_from_detector(codec: CodecNetwork, detector: GeneralizedRCNN, features: Mapping[str, Tensor]) -> None:
    """Give a codec what is known of the detector before the first step.

    Args:
        codec: with random weights.
        detector: whose output convolutions the synthesis starts from.
        features: of some train pictures, the key levels and the pyramid: their statistics standardize what the
            analysis reads and scale what the synthesis predicts.
    """
    top_down = codec.synthesis.top_down
    above: Tensor | None = None
    with torch.no_grad():
        for level in KEY_LEVELS:
            values = features[level].float()
            codec.analysis.standardize[level].set(values.mean((0, 2, 3)), values.std((0, 2, 3)))
        for place, level in enumerate(reversed(REBUILT)):
            output = getattr(detector.backbone, f"fpn_output{level[1:]}")
            top_down.outputs[place].load_state_dict(output.state_dict())
            inner = features[f"inner{level[1:]}"].float()
            lateral = inner if above is None else inner - F.interpolate(above, scale_factor=2.0, mode="nearest")
            top_down.lateral_scale[place].copy_(lateral.std((0, 2, 3)).view(-1, 1, 1))
            above = inner


def _training_state(codec: CodecNetwork, recipe: CodecRecipe) -> TrainingState:
    entropy = [*codec.priors.parameters(), *codec.gains.parameters()]
    transforms = [*codec.analysis.parameters(), *codec.synthesis.parameters()]
    optimizer = Adam(
        [{"params": transforms, "lr": recipe.learning_rate}, {"params": entropy, "lr": recipe.entropy_learning_rate}]
    )
    return TrainingState(
        model=codec,
        average=moving_average(codec, recipe.average_decay),
        optimizer=optimizer,
        schedule=LambdaLR(optimizer, recipe.learning_rate_at),
        clip_norm=recipe.clip_norm,
    )
