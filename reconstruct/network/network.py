"""The reconstruction network: any key levels to the whole pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import REBUILT, ResidualBlock, Standardize, TopDown


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of a reconstruction network."""

    pyramid_channels: int
    hidden: tuple[int, int, int, int] = (128, 128, 96, 64)
    """Channels at strides 32, 16, 8 and 4."""


class ReconstructionNetwork(nn.Module):
    """Rebuilds p2 … p5 from any of them.

        p2 ─► stride 8 ─┐
        p3 ──────────► + ─► stride 16 ─┐
        p4 ─────────────────────────► + ─► stride 32 ─┐
        p5 ────────────────────────────────────────► + ──► top-down: inner maps, output convolutions

    One network serves all key sets: a level that is not key is zeroed, and a flag says so.
    """

    def __init__(self, shape: NetworkShape) -> None:
        """Build with random weights."""
        super().__init__()
        self.shape = shape
        at32, at16, at8, _ = shape.hidden
        channels = shape.pyramid_channels
        self.standardize = nn.ModuleDict({level: Standardize(channels) for level in REBUILT})
        self.enter = nn.ModuleDict(
            {
                "p2": nn.Conv2d(channels, at8, 3, stride=2, padding=1),
                "p3": nn.Conv2d(channels, at8, 3, padding=1),
                "p4": nn.Conv2d(channels, at16, 3, padding=1),
                "p5": nn.Conv2d(channels, at32, 3, padding=1),
            }
        )
        self.flags = nn.Linear(len(REBUILT), at8 + at16 + at32)
        self.down16 = nn.Conv2d(at8, at16, 3, stride=2, padding=1)
        self.down32 = nn.Conv2d(at16, at32, 3, stride=2, padding=1)
        self.block8, self.block16, self.block32 = (ResidualBlock(width) for width in (at8, at16, at32))
        self.top_down = TopDown(channels, shape.hidden)

    def forward(self, sent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rebuild the pyramid.

        Args:
            sent: the key levels of p2 … p5, at least one, (N, C, h, w) each; sides multiples of the coarsest stride.

        Returns:
            p2 … p5, those that were sent included, as the network sees them.
        """
        some = next(iter(sent.values()))
        flags = torch.tensor([float(level in sent) for level in REBUILT], device=some.device)
        at32, at16, at8, _ = self.shape.hidden
        flag8, flag16, flag32 = self.flags(flags).view(1, -1, 1, 1).split([at8, at16, at32], 1)
        height, width = _sides_at_8(sent)
        entered = {level: self.enter[level](self.standardize[level](x)) for level, x in sent.items()}
        h8 = flag8.expand(some.shape[0], -1, height, width) + entered.get("p2", 0) + entered.get("p3", 0)
        h8 = self.block8(F.relu(h8))
        h16 = self.block16(F.relu(self.down16(h8) + flag16 + entered.get("p4", 0)))
        h32 = self.block32(F.relu(self.down32(h16) + flag32 + entered.get("p5", 0)))
        rebuilt: dict[str, Tensor] = self.top_down([h32, h16, h8, None])
        return rebuilt


def _sides_at_8(sent: Mapping[str, Tensor]) -> tuple[int, int]:
    level, feature = next(iter(sent.items()))
    height, width = feature.shape[2:]
    shift = int(level[1:]) - 3
    return (height << shift, width << shift) if shift > 0 else (height >> -shift, width >> -shift)
