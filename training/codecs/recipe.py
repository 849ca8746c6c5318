"""How the networks that rebuild pyramids are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DistortionWeights:
    """Of the parts of the distortion; a part of weight 0 is not computed."""

    feature: float = 1.0
    """The squared error of the features."""
    rpn: float = 1.0
    """How differently the RPN sees the rebuilt pyramid."""
    box: float = 1.0
    """How differently the box head does."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionRecipe:
    """The choices of a reconstruction network's training; the defaults made the bundled one.

    Adam under a constant learning rate after a linear warm-up, which falls to zero over the last part of the run
    (arXiv 2405.18392).
    """

    steps: int | None = 3000
    """None where the run's time alone says when it ends."""
    batch: int = 4
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "bf16"
    holdout: int = 100
    """Pictures that choices are made by, never trained on."""

    learning_rate: float = 5e-4
    warmup_steps: int = 200
    cooldown: float = 0.25
    """The last part of the run, in which the learning rate falls."""
    clip_norm: float = 1.0
    average_decay: float = 0.999

    side: int = 320
    """Of the crops, in pixels."""
    short_side: tuple[float, float] = (5 / 6, 13 / 12)
    """The range of the pictures' short side, as a part of the config's test size: 320 to 416 for 384 pixels."""
    weights: DistortionWeights = field(default_factory=DistortionWeights)

    def learning_rate_at(self, step: int, done: float) -> float:
        """The part of the full learning rate that a step takes.

        Args:
            step: its number, from 0 on.
            done: the part of the run that lies behind it, 0 to 1.
        """
        return min(1.0, (step + 1) / self.warmup_steps, (1 - done) / self.cooldown)


@dataclass(frozen=True, kw_only=True)
class CodecRecipe(ReconstructionRecipe):
    """The choices of a learned codec's training; the defaults made the bundled one."""

    steps: int | None = 9000
    started_learning_rate: float = 5e-5
    """Of what starts near its best: the linear way and the detector's output convolutions."""
    entropy_learning_rate: float = 2e-3
    """Of the entropy model and the gains."""
    table_pictures: int = 150
    """Train pictures whose symbols are counted into the published tables, each at every quality."""

    lambda_first: float = 0.15
    """Bits per pixel that one unit of distortion is worth at quality 1."""
    lambda_ratio: float = 2.2
    """From one quality's lambda to the next."""

    def trade_off(self, quality: int) -> float:
        """Lambda of a quality, 1 to 8: the loss is rate / sqrt(lambda) + sqrt(lambda) * distortion."""
        return self.lambda_first * self.lambda_ratio ** (quality - 1)
