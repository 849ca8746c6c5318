"""The rows of the level study, each in both scopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from keyfpn.detector.model import Model
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.interpolate.rule import EVEN_MIX
from keyfpn.reconstruct.key_levels.parameters import Mix, Parameters
from keyfpn.reconstruct.registry import open_codec

from ..engine.codecs import CodecWay
from ..engine.evaluation import Figures
from ..engine.rows import Row
from .rebuild import KEY_LEVELS, LEVELS, P4_OF_P3_AND_P5, Degrade, P4Mix
from .scopes import SCOPES, Scope, in_scope

Kind = Literal["degrade", "p4mix", "keyset", "precision"]
FACTORS = (2.0, 4.0, 8.0, 16.0)
PAIRS = tuple(pairwise(LEVELS))
STUDY_RULES: dict[Mix, str] = {(0.0, 1.0): "down(p3)", (1.0, 0.0): "up(p5)", EVEN_MIX: "even"}
_LOSSLESS = "precision=fp32,coder=store"
_PRECISIONS = ("precision=fp32,coder=zstd", "precision=fp16,coder=store", "precision=int8")


@dataclass(frozen=True, kw_only=True)
class LevelRow(Row):
    """One setting in one scope."""

    how: Degrade | P4Mix | CodecWay
    """What is done to the pyramid, in whatever scope."""
    scope: Scope
    kind: Kind

    @property
    def setting(self) -> str:
        """All that tells it from others of its kind and scope."""
        return str(self.how.settings) if isinstance(self.how, CodecWay) else self.how.setting

    @property
    def key_levels(self) -> tuple[str, ...] | None:
        """What is sent; None where every level is, scaled down."""
        return None if isinstance(self.how, Degrade) else self.how.key_levels

    def elements(self, geometry: Geometry) -> int:
        """Values sent of a picture."""
        if isinstance(self.how, Degrade):
            return self.how.elements(geometry)
        return geometry.elements(self.how.key_levels)


@dataclass(frozen=True)
class Measured:
    """A row and what came of it."""

    row: LevelRow
    elements: float
    """Values sent, mean per picture."""
    figures: Figures

    @property
    def ap(self) -> float:
        return self.figures.metrics.AP


def degrade_rows(degradations: Sequence[Degrade]) -> list[LevelRow]:
    """Each degradation in both scopes."""
    return [row for how in dict.fromkeys(degradations) for row in _in_both_scopes("degrade", how)]


def degradation_grid() -> list[Degrade]:
    """Each level alone and all together at every factor, and neighbours at the largest."""
    sets: list[tuple[tuple[str, ...], float]] = [((level,), factor) for level in LEVELS for factor in FACTORS]
    sets += [(pair, FACTORS[-1]) for pair in PAIRS]
    sets += [(LEVELS, factor) for factor in FACTORS]
    return [Degrade.of(levels, factor) for levels, factor in sets]


def mix_rows(mixes: Sequence[Mix]) -> list[LevelRow]:
    """p3 and p5 sent, p4 rebuilt with each (a, b), in both scopes."""
    return [row for mix in dict.fromkeys(mixes) for row in _in_both_scopes("p4mix", P4Mix(mix))]


def own_mix(model: Model) -> Mix:
    """The (a, b) with which the codec ``interpolate`` rebuilds p4 for this model."""
    return Parameters.of(model).mixes.get(P4_OF_P3_AND_P5, EVEN_MIX)


def keyset_rows(model: Model) -> list[LevelRow]:
    """Every non-empty subset of p2 … p5 in float32, rebuilt by ``interpolate``, and by ``network`` where there is one.

    p6 is not in the search: it is exact from p5, and free.
    """
    inner = LEVELS[:-1]
    subsets = [subset for size in range(1, len(inner) + 1) for subset in combinations(inner, size)]
    rows = [row for levels in subsets for row in _codec_rows("keyset", f"interpolate:{_levels(levels)}", model)]
    if open_codec("network", model).can_decode():
        rows += [row for levels in subsets for row in _codec_rows("keyset", f"network:{_levels(levels)}", model)]
    return rows


def precision_rows(model: Model) -> list[LevelRow]:
    """The study's key levels as fewer bytes than float32."""
    text = f"interpolate:levels={'+'.join(KEY_LEVELS)}"
    return [row for precision in _PRECISIONS for row in _codec_rows("precision", f"{text},{precision}", model)]


def _levels(levels: Sequence[str]) -> str:
    return f"levels={'+'.join(levels)},{_LOSSLESS}"


def _codec_rows(kind: Kind, codec: str, model: Model) -> list[LevelRow]:
    # In the full scope these are rows of the rate-AP table, and share its measurements.
    return _in_both_scopes(kind, CodecWay.of(codec, model))


def _in_both_scopes(kind: Kind, how: Degrade | P4Mix | CodecWay) -> list[LevelRow]:
    return [LevelRow(way=in_scope(how, scope), how=how, scope=scope, kind=kind) for scope in SCOPES]
