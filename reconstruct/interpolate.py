"""Codec `interpolate`: missing levels by bilinear scaling of the nearest key levels, the rule of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from keyfpn.protocol.geometry import Geometry

from .codec import LEVELS, register
from .levels import LevelCodec, last_level_max_pool
from .parameters import Mix

EVEN_MIX: Mix = (0.5, 0.5)


@register
class InterpolateCodec(LevelCodec):
    """Rebuilds what was not sent from what was.

        p3 ──► sent ──┬─ up ────────────────► p2
                      └─ down ─ b ─┐
        p5 ──► sent ──┬─ up ─── a ─┴─ + ────► p4
                      └─ max-pool ──────────► p6

    A missing level comes from the nearest key level, scaled bilinearly; where a finer and a coarser one are equally
    near, from ``a * up(coarser) + b * down(finer)``, with (a, b) fitted by least squares on train features (0.5 each
    where a model has none). p6 is the max-pool of p5, sent or rebuilt. Source: the study of dbwp031/detectron2 (2022).
    """

    name = "interpolate"
    default_levels = "p3+p5"

    def rebuild(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        rebuilt = {level: self._interpolate(level, sent, geometry) for level in missing if level != "p6"}
        if "p6" in missing:
            rebuilt["p6"] = last_level_max_pool(rebuilt["p5"])  # where p5 was sent, p6 is not missing
        return rebuilt

    def _interpolate(self, level: str, sent: Mapping[str, Tensor], geometry: Geometry) -> Tensor:
        _, height, width = geometry.level_shape(level)
        sources = nearest_levels(level, self.key_levels)
        scaled = [scale(sent[source], (height, width)) for source in sources]
        if len(scaled) == 1:
            return scaled[0]
        a, b = self._mix(level, *sources)
        return b * scaled[0] + a * scaled[1]

    def rule(self, level: str) -> str:
        if level == "p6":
            return "max-pool of the rebuilt p5"
        sources = nearest_levels(level, self.key_levels)
        if len(sources) == 1:
            return f"bilinear from {sources[0]}"
        a, b = self._mix(level, *sources)
        return f"{a:.3g} * up({sources[1]}) + {b:.3g} * down({sources[0]})"

    def _mix(self, level: str, finer: str, coarser: str) -> Mix:
        return self.parameters.mixes.get((level, finer, coarser), EVEN_MIX)


def nearest_levels(level: str, key_levels: tuple[str, ...]) -> tuple[str, ...]:
    """The key level that is nearest to ``level`` in the pyramid; two, the finer first, where two are equally near."""
    place = LEVELS.index(level)
    distance = min(abs(LEVELS.index(key) - place) for key in key_levels)
    return tuple(key for key in key_levels if abs(LEVELS.index(key) - place) == distance)


def scale(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to (height, width), corners not aligned: a factor of 2 down averages 2 x 2 values."""
    return F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
