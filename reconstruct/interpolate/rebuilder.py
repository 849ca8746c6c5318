"""Missing levels by bilinear scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry

from ..key_levels.parameters import Mix
from ..key_levels.rebuilder import LevelRebuilder
from .rule import mix_of, nearest_levels


class Interpolator(LevelRebuilder):
    """The rule of the codec `interpolate`, with fitted mixes."""

    def __init__(self, pyramid: Pyramid, mixes: Mapping[tuple[str, str, str], Mix], device: str = "cpu") -> None:
        """Take (a, b) of levels between two others: (level, finer, coarser) to the weights."""
        super().__init__(pyramid, device)
        self._mixes = mixes

    def fill(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        return {level: self._interpolated(level, sent, geometry) for level in missing}

    def _interpolated(self, level: str, sent: Mapping[str, Tensor], geometry: Geometry) -> Tensor:
        _, height, width = geometry.level_shape(level)
        sources = nearest_levels(level, list(sent), self._pyramid.levels)
        scaled = [scale(sent[source], (height, width)) for source in sources]
        if len(scaled) == 1:
            return scaled[0]
        a, b = mix_of(level, sources, self._mixes)
        return b * scaled[0] + a * scaled[1]


def scale(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to (height, width), corners not aligned: a factor of 2 down averages 2 x 2 values."""
    return F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
