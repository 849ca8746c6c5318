"""Several rates from one set of weights: a gain per quality and channel before rounding, another after."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_FIRST_GAIN, _GAIN_RATIO = 0.5, 1.35
"""Before training."""


class Gains(nn.Module):
    """Gain units (arXiv 2003.02012) of all latents.

    The greater a channel's gain, the finer it is quantized: a latent y travels as round(gain * y) and comes back times
    an inverse gain of its own, which starts at 1 / gain.
    """

    def __init__(self, latents: Sequence[int], qualities: int) -> None:
        """Spread the qualities geometrically, all channels alike.

        Args:
            latents: channels of each latent.
            qualities: how many.
        """
        super().__init__()
        gains = torch.log(torch.tensor([_FIRST_GAIN * _GAIN_RATIO**place for place in range(qualities)]))
        self.log_gain = nn.ParameterList(nn.Parameter(gains[:, None].repeat(1, size)) for size in latents)
        self.log_inverse = nn.ParameterList(nn.Parameter(-gains[:, None].repeat(1, size)) for size in latents)

    def scale(self, latents: Sequence[Tensor], quality: Tensor) -> list[Tensor]:
        """y0, y1, …, (N, C, h, w) each, as they are rounded; ``quality`` is (N,) int64, from 0 on."""
        return [y.float() * _spread(log, quality) for y, log in zip(latents, self.log_gain, strict=True)]

    def unscale(self, symbols: Sequence[Tensor], quality: Tensor) -> list[Tensor]:
        """What :meth:`scale` gave, rounded, back to the latents' own units."""
        return [s * _spread(log, quality) for s, log in zip(symbols, self.log_inverse, strict=True)]


def _spread(log: Tensor, quality: Tensor) -> Tensor:
    return torch.exp(log[quality])[:, :, None, None]
