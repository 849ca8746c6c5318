"""The layers that all reconstruction networks share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REBUILT = ("p2", "p3", "p4", "p5")
"""What a reconstruction network makes; p6 is the max-pool of p5."""


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), the channels kept; the second convolution starts at zero."""

    def __init__(self, channels: int, second: int = 3) -> None:
        """Take the number of channels, and the side of the second convolution; the first is 3 x 3."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, second, padding=second // 2)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        refined: Tensor = self.second(F.relu(self.first(x)))
        return x + refined


class Standardize(nn.Module):
    """(x - mean) / std per channel, with numbers measured on train features."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        """Start as the identity."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take the (C,) statistics."""
        self.mean.copy_(mean.view(-1, 1, 1))
        self.std.copy_(std.clamp_min(1e-3).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same."""
        # One pass over x: it is as large as anything on the edge.
        return torch.addcmul(-self.mean / self.std, x, 1 / self.std)


class Up(nn.Module):
    """Twice the height and width by sub-pixel convolution (arXiv 1609.05158)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Take the channels before and after."""
        super().__init__()
        self.expand = nn.Conv2d(inputs, 4 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, outputs, 2 h, 2 w)."""
        return F.pixel_shuffle(self.expand(x), 2)


class TopDown(nn.Module):
    """From features at strides 32 to 4 to p2 … p5.

    It rebuilds the FPN's *inner* maps top-down, as the FPN itself sums them, and ends in the FPN's output convolutions:
    these start as copies of the detector's, so that what has to be learned is only what the FPN sums.
    """

    def __init__(self, channels: int, hidden: Sequence[int]) -> None:
        """Build with random weights.

        Args:
            channels: of the pyramid.
            hidden: channels at strides 32, 16, 8 and 4.
        """
        super().__init__()
        self.up = nn.ModuleList(Up(a, b) for a, b in pairwise(hidden))
        self.blocks = nn.ModuleList(nn.Sequential(ResidualBlock(width), ResidualBlock(width)) for width in hidden)
        self.to_lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in hidden)
        self.lateral_scale = nn.ParameterList(nn.Parameter(torch.ones(channels, 1, 1)) for _ in hidden)
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in hidden)

    def forward(
        self, entries: Sequence[Tensor | None], laterals: Sequence[Tensor | None] = (None,) * len(REBUILT)
    ) -> dict[str, Tensor]:
        """Rebuild the pyramid.

        Args:
            entries: what enters at strides 32, 16, 8 and 4, (N, hidden, h, w); None where nothing does.
            laterals: what is known of the FPN's laterals there, (N, channels, h, w); what comes out of the blocks is
                added to it.

        Returns:
            p2 … p5, (N, channels, h, w).
        """
        pyramid: dict[str, Tensor] = {}
        hidden: Tensor | None = None
        inner: Tensor | None = None
        for place, level in enumerate(reversed(REBUILT)):
            entry = entries[place]
            if hidden is not None:
                above = self.up[place - 1](hidden)
                entry = above if entry is None else above + entry
            assert entry is not None  # something enters at stride 32
            hidden = self.blocks[place](F.relu(entry))
            lateral = self.to_lateral[place](hidden) * self.lateral_scale[place]
            if laterals[place] is not None:
                lateral = lateral + laterals[place]
            inner = lateral if inner is None else lateral + F.interpolate(inner, scale_factor=2.0, mode="nearest")
            pyramid[level] = self.outputs[place](inner)
        return pyramid
