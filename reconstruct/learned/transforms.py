"""The learned codec's two networks: analysis on the edge, synthesis on the server.

res2 ─┐                                           y2 ─► + stride 8 ──► inner3 ─► p3
inner3 + ─► stride 8 ──► y2                             ▲ stride 4 ──► inner2 ─► p2
              ▼                                         │
inner4 ─────► + stride 16 ──► y1                  y1 ─► + stride 16 ─► inner4 ─► p4
                    ▼                                   ▲
inner5 ───────────► + stride 32 ──► y0            y0 ─► stride 32 ───► inner5 ─► p5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import ResidualBlock, Standardize, TopDown

KEY_LEVELS = ("inner3", "inner4", "inner5", "res2")
"""What the analysis reads: all that the edge has computed on its way to p3, before any output convolution."""
LATENT_STRIDES = (32, 16, 8)
"""Of y0, y1 and y2."""


class Analysis(nn.Module):
    """The key levels fused from fine to coarse into latents (L-MSFC's order, arXiv 2306.16670)."""

    def __init__(self, channels: Mapping[str, int], hidden: Sequence[int], latents: Sequence[int]) -> None:
        """Build with random weights.

        Args:
            channels: of each key level.
            hidden: channels at strides 8, 16 and 32.
            latents: channels of y0, y1 and y2 (strides 32, 16 and 8).
        """
        super().__init__()
        at8, at16, at32 = hidden
        self.standardize = nn.ModuleDict({level: Standardize(channels[level]) for level in KEY_LEVELS})
        self.from_res2 = nn.Conv2d(channels["res2"], at8, 3, stride=2, padding=1)
        self.from_inner3 = nn.Conv2d(channels["inner3"], at8, 1)
        self.from_inner4 = nn.Conv2d(channels["inner4"], at16, 1)
        self.from_inner5 = nn.Conv2d(channels["inner5"], at32, 1)
        self.block8, self.block16, self.block32 = (ResidualBlock(width) for width in hidden)
        self.down16 = nn.Conv2d(at8, at16, 3, stride=2, padding=1)
        self.down32 = nn.Conv2d(at16, at32, 3, stride=2, padding=1)
        self.to_y0 = nn.Conv2d(at32, latents[0], 1)
        self.to_y1 = nn.Conv2d(at16, latents[1], 1)
        self.to_y2 = nn.Conv2d(at8, latents[2], 1)

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Key levels (N, C, h, w) to y0, y1 and y2, before gain and rounding."""
        x = {level: self.standardize[level](features[level]) for level in KEY_LEVELS}
        h8 = self.block8(F.relu(self.from_res2(x["res2"]) + self.from_inner3(x["inner3"])))
        h16 = self.block16(F.relu(self.down16(h8) + self.from_inner4(x["inner4"])))
        h32 = self.block32(F.relu(self.down32(h16) + self.from_inner5(x["inner5"])))
        return [self.to_y0(h32), self.to_y1(h16), self.to_y2(h8)]


class Synthesis(nn.Module):
    """From the dequantized latents to p2 … p5."""

    def __init__(self, channels: int, hidden: Sequence[int], latents: Sequence[int]) -> None:
        """Build with random weights.

        Args:
            channels: of the pyramid.
            hidden: channels at strides 32, 16, 8 and 4.
            latents: channels of y0, y1 and y2.
        """
        super().__init__()
        self.from_y0 = nn.Conv2d(latents[0], hidden[0], 1)
        self.from_y1 = nn.Conv2d(latents[1], hidden[1], 1)
        self.from_y2 = nn.Conv2d(latents[2], hidden[2], 1)
        self.top_down = TopDown(channels, hidden)

    def forward(self, latents: Sequence[Tensor]) -> dict[str, Tensor]:
        """y0, y1 and y2, (N, C, h, w) each, to p2 … p5."""
        y0, y1, y2 = latents
        return self.top_down([self.from_y0(y0), self.from_y1(y1), self.from_y2(y2), None])
