"""Codec `raw`: the key levels as they are, nothing rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from keyfpn.protocol.geometry import Geometry

from .codec import register
from .levels import LevelCodec


@register
class RawCodec(LevelCodec):
    """Sends any subset of the levels and invents nothing.

        key levels ──► quantize ──► entropy code ──► … ──► the same levels; p6 from p5; zeros for the rest

    A level that was neither sent nor follows from p5 is all zeros: RPN and ROI heads find nothing there. With all of
    p2 to p5 in fp32 this is the unsplit detector, bit for bit.
    """

    name = "raw"
    default_levels = "p2+p3+p4+p5"

    def rebuild(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        return {level: torch.zeros(1, *geometry.level_shape(level)) for level in missing}

    def rule(self, level: str) -> str:
        return "not sent: zeros"
