"""The learned codec's two networks: analysis on the edge, synthesis on the server.

res2 ─┐                                           y2 ─► + stride 8 ──► lateral3 ─► p3
inner3 + ─► stride 8 ──► y2                             ▲ stride 4 ──► lateral2 ─► p2
              ▼                                         │
inner4 ─────► + stride 16 ──► y1                  y1 ─► + stride 16 ─► lateral4 ─► p4
                    ▼                                   ▲
inner5 ───────────► + stride 32 ──► y0            y0 ─► stride 32 ───► lateral5 ─► p5

Beside this nonlinear way each latent has a linear one, a 1 x 1 convolution from the FPN's lateral of its own stride and
another back, which starts as principal components: it lets through whatever the bits allow, from the first step on, and
what has to be learned is how to do better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import ResidualBlock, Standardize, TopDown, Up
from .shape import LATERALS, STANDARDIZED


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
        self.standardize = nn.ModuleDict({level: Standardize(channels[level]) for level in STANDARDIZED})
        self.from_res2 = nn.Conv2d(channels["res2"], at8, 3, stride=2, padding=1)
        self.from_inner3 = nn.Conv2d(channels["inner3"], at8, 1)
        self.from_inner4 = nn.Conv2d(channels["inner4"], at16, 1)
        self.from_inner5 = nn.Conv2d(channels["inner5"], at32, 1)
        # The edge has little time: a second 3 x 3 convolution in each would double what the blocks take.
        self.block8, self.block16, self.block32 = (ResidualBlock(width, second=1) for width in hidden)
        self.down16 = nn.Conv2d(at8, at16, 3, stride=2, padding=1)
        self.down32 = nn.Conv2d(at16, at32, 3, stride=2, padding=1)
        self.to_latent = nn.ModuleList(
            nn.Conv2d(width, size, 1) for width, size in zip(hidden[::-1], latents, strict=True)
        )
        self.linear = nn.ModuleList(
            nn.Conv2d(channels[level], size, 1) for level, size in zip(LATERALS, latents, strict=True)
        )
        self.linear_res2 = nn.Conv2d(channels["res2"], latents[2], 2, stride=2, bias=False)

    def fold(self) -> None:
        """Make the standardizing of inner3 … inner5 a part of the convolution after it: the same numbers, sooner.

        That of res2 stays, because the borders of its convolution are zeros of standardized values.
        """
        for level, convolution in (
            ("inner3", self.from_inner3),
            ("inner4", self.from_inner4),
            ("inner5", self.from_inner5),
        ):
            layer = self.standardize[level]
            assert isinstance(layer, Standardize)
            with torch.no_grad():
                convolution.weight.div_(layer.std)
                assert convolution.bias is not None
                convolution.bias.sub_((convolution.weight * layer.mean).sum((1, 2, 3)))
            self.standardize[level] = nn.Identity()

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Key levels (N, C, h, w) to y0, y1 and y2, before gain and rounding."""
        x = {level: self.standardize[level](features[level]) for level in STANDARDIZED}
        h8 = self.block8(F.relu(self.from_res2(x["res2"]) + self.from_inner3(x["inner3"])))
        h16 = self.block16(F.relu(self.down16(h8) + self.from_inner4(x["inner4"])))
        h32 = self.block32(F.relu(self.down32(h16) + self.from_inner5(x["inner5"])))
        y0, y1, y2 = (
            linear(features[lateral]) + convolution(hidden)
            for linear, lateral, convolution, hidden in zip(
                self.linear, LATERALS, self.to_latent, (h32, h16, h8), strict=True
            )
        )
        return [y0, y1, y2 + self.linear_res2(features["res2"])]


class Synthesis(nn.Module):
    """From the dequantized latents to p2 … p5."""

    def __init__(self, channels: Mapping[str, int], hidden: Sequence[int], latents: Sequence[int]) -> None:
        """Build with random weights.

        Args:
            channels: of each key level.
            hidden: channels at strides 32, 16, 8 and 4.
            latents: channels of y0, y1 and y2.
        """
        super().__init__()
        pyramid_channels = channels["inner5"]
        self.from_latent = nn.ModuleList(
            nn.Conv2d(size, width, 1) for size, width in zip(latents, hidden[:-1], strict=True)
        )
        self.linear = nn.ModuleList(nn.Conv2d(size, pyramid_channels, 1) for size in latents)
        self.linear_res2 = nn.Sequential(
            Up(latents[2], channels["res2"]), nn.Conv2d(channels["res2"], pyramid_channels, 1)
        )
        self.top_down = TopDown(pyramid_channels, hidden)

    def forward(self, latents: Sequence[Tensor]) -> dict[str, Tensor]:
        """y0, y1 and y2, (N, C, h, w) each, to p2 … p5."""
        entries = [convolution(y) for convolution, y in zip(self.from_latent, latents, strict=True)]
        laterals = [linear(y) for linear, y in zip(self.linear, latents, strict=True)]
        rebuilt: dict[str, Tensor] = self.top_down([*entries, None], [*laterals, self.linear_res2(latents[2])])
        return rebuilt
