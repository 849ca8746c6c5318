"""The whole learned codec as one network, as it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .gains import Gains
from .prior import ContextPrior
from .shape import Shape
from .transforms import Analysis, Synthesis


@dataclass(frozen=True)
class Passage:
    """What became of features on their way through the codec."""

    bits: list[Tensor]
    """(N,) information content of each latent."""
    pyramid: dict[str, Tensor]
    """p2 … p5, (N, C, h, w)."""


class CodecNetwork(nn.Module):
    """Analysis, gains, entropy model and synthesis."""

    def __init__(self, shape: Shape) -> None:
        """Build with random weights."""
        super().__init__()
        self.shape = shape
        latents = shape.latents
        self.analysis = Analysis(shape.key_channels, shape.analysis, latents)
        self.synthesis = Synthesis(shape.key_channels, shape.synthesis, latents)
        self.gains = Gains(latents, shape.qualities)
        before = (0, *latents[:-1])
        self.priors = nn.ModuleList(
            ContextPrior(groups, coarse, shape.qualities) for groups, coarse in zip(shape.groups, before, strict=True)
        )

    def forward(self, features: Mapping[str, Tensor], quality: Tensor) -> Passage:
        """Send features through the codec as training sees it.

        Noise in place of rounding for the rate, rounding with a straight-through gradient for the pyramid (Minnen &
        Singh, arXiv 2007.08739).

        Args:
            features: the key levels, (N, C, h, w).
            quality: (N,) int64, from 0 on.
        """
        scaled = self.gains.scale(self.analysis(features), quality)
        # Integers exactly, with the gradient of what they were rounded from.
        rounded = [torch.round(y) + (y - y.detach()) for y in scaled]
        noisy = [y + torch.rand_like(y) - 0.5 for y in scaled] if self.training else rounded
        return Passage(self._bits(noisy, rounded, quality), self.synthesis(self.gains.unscale(rounded, quality)))

    def _bits(self, noisy: Sequence[Tensor], rounded: Sequence[Tensor], quality: Tensor) -> list[Tensor]:
        before = [None, *rounded[:-1]]
        with torch.autocast(noisy[0].device.type, enabled=False):
            return [
                prior(y, symbols, coarse, quality).sum((1, 2, 3))
                for prior, y, symbols, coarse in zip(self.priors, noisy, rounded, before, strict=True)
            ]
