"""The codec `interpolate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keyfpn.protocol.packet import CODEC_IDS

from ..key_levels.codec import LevelCodec
from ..key_levels.parameters import Mix

if TYPE_CHECKING:
    from .rebuilder import Interpolator

EVEN_MIX: Mix = (0.5, 0.5)


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
    wire_id = CODEC_IDS["interpolate"]
    default_levels = "p3+p5"

    def rebuilder(self, device: str = "cpu") -> Interpolator:
        from .rebuilder import Interpolator

        return Interpolator(self.model.pyramid, self.parameters.mixes, device)

    def rule(self, level: str, sent: Sequence[str]) -> str:
        sources = nearest_levels(level, sent, self.model.pyramid.levels)
        if len(sources) == 1:
            return f"bilinear from {sources[0]}"
        a, b = mix_of(level, sources, self.parameters.mixes)
        return f"{a:.3g} * up({sources[1]}) + {b:.3g} * down({sources[0]})"


def nearest_levels(level: str, key_levels: Sequence[str], levels: Sequence[str]) -> tuple[str, ...]:
    """The key level that is nearest to ``level`` among ``levels``; two, the finer first, where two are equally near."""
    place = levels.index(level)
    distance = min(abs(levels.index(key) - place) for key in key_levels)
    return tuple(key for key in levels if key in key_levels and abs(levels.index(key) - place) == distance)


def mix_of(level: str, sources: Sequence[str], mixes: Mapping[tuple[str, str, str], Mix]) -> Mix:
    """(a, b) for a level between a finer and a coarser source."""
    finer, coarser = sources
    return mixes.get((level, finer, coarser), EVEN_MIX)
