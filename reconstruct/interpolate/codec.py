"""The codec `interpolate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfpn.protocol.packet import CODEC_IDS

from ..key_levels.codec import LevelCodec
from .rule import mix_of, nearest_levels

if TYPE_CHECKING:
    from .rebuilder import Interpolator


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
