"""How the bundled detector was trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """The choices of a detector's training; the defaults are the bundled detector's.

    AdamW (arXiv 1711.05101) under a cosine (arXiv 1608.03983) after a linear warm-up. Which stages are frozen is the
    config's matter (``MODEL.BACKBONE.FREEZE_AT``).
    """

    steps: int | None = 3694
    """None where the run's time alone says when it ends."""
    batch: int = 4
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "bf16"
    holdout: int = 100
    """Pictures that are evaluated on, never trained on."""

    backbone_learning_rate: float = 6e-5
    head_learning_rate: float = 4e-4
    """Of everything but the bottom-up backbone."""
    weight_decay: float = 0.05
    warmup_steps: int = 200
    """At most; a run of fewer than 2,000 steps warms up for a tenth of them."""
    final_learning_rate: float = 0.02
    """At the end, as a part of the full rate."""
    clip_norm: float = 5.0
    average_decay: float = 0.999

    short_side: tuple[float, float] = (2 / 3, 11 / 12)
    """The range of the picture's short side, as a part of the config's test size: 256 to 352 for 384 pixels."""
    crop_probability: float = 0.4
    crop_side: float = 0.4
    """The least part of each side that a crop keeps."""

    def learning_rate_at(self, step: int, done: float) -> float:
        """The part of the full learning rate that a step takes.

        Args:
            step: its number, from 0 on.
            done: the part of the run that lies behind it, 0 to 1.
        """
        warmup = self.warmup_steps if self.steps is None else min(self.warmup_steps, self.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.final_learning_rate + (1 - self.final_learning_rate) * cosine
