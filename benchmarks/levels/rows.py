"""The rows of the level study, each in both scopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal, get_args

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.codec import LEVELS, codec_names
from keyfpn.reconstruct.interpolate import EVEN_MIX
from keyfpn.reconstruct.parameters import Mix, Parameters
from keyfpn.reconstruct.settings import CodecSettings

from ..engine.evaluation import Figures
from ..rate.rows import Rebuild, Row, Scope, codec_rows
from .rebuild import KEY_LEVELS, P4_OF_P3_AND_P5, Degrade, P4Mix

Kind = Literal["degrade", "p4mix", "keyset", "precision"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FACTORS = (2.0, 4.0, 8.0, 16.0)
PAIRS = tuple(pairwise(LEVELS))
STUDY_RULES: dict[Mix, str] = {(0.0, 1.0): "down(p3)", (1.0, 0.0): "up(p5)", EVEN_MIX: "even"}
_LOSSLESS = "precision=fp32,coder=store"
_PRECISIONS = ("precision=fp32,coder=zstd", "precision=fp16,coder=store", "precision=int8")


@dataclass(frozen=True, kw_only=True)
class LevelRow(Row):
    """One setting in one scope."""

    kind: Kind
    setting: str
    """All that tells it from others of its kind and scope."""
    key_levels: tuple[str, ...] | None
    """What is sent; None where every level is, scaled down."""

    def elements(self, geometry: Geometry) -> int:
        """Values sent of a picture."""
        if isinstance(self.how, Degrade):
            return self.how.elements(geometry)
        assert self.key_levels is not None
        return geometry.elements(self.key_levels)


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
    rows = []
    for how in dict.fromkeys(degradations):
        setting = " ".join(repr(factor).removesuffix(".0") for factor in how.factors)
        rows += _in_both_scopes("degrade", f"degrade:{setting}", how, setting)
    return rows


def degradation_grid() -> list[Degrade]:
    """Each level alone and all together at every factor, and neighbours at the largest."""
    sets = [((level,), factor) for level in LEVELS for factor in FACTORS]
    sets += [(pair, FACTORS[-1]) for pair in PAIRS]
    sets += [(LEVELS, factor) for factor in FACTORS]
    return [Degrade.of(levels, factor) for levels, factor in sets]


def mix_rows(mixes: Sequence[Mix]) -> list[LevelRow]:
    """p3 and p5 sent, p4 rebuilt with each (a, b), in both scopes."""
    rows = []
    for a, b in dict.fromkeys(mixes):
        setting = f"a={a!r},b={b!r}"
        rows += _in_both_scopes("p4mix", f"p4mix:{setting}", P4Mix((a, b)), setting, KEY_LEVELS)
    return rows


def own_mix(model: DetectorModel) -> Mix:
    """The (a, b) with which the codec ``interpolate`` rebuilds p4 for this model."""
    return Parameters.of(model).mixes.get(P4_OF_P3_AND_P5, EVEN_MIX)


def keyset_rows(model: DetectorModel) -> list[LevelRow]:
    """Every non-empty subset of p2 … p5 in float32, rebuilt by ``interpolate``, and by ``network`` where there is one.

    p6 is not in the search: it is exact from p5, and free.
    """
    inner = LEVELS[:-1]
    subsets = [subset for size in range(1, len(inner) + 1) for subset in combinations(inner, size)]
    rows = [row for levels in subsets for row in _codec_rows("keyset", f"interpolate:{_levels(levels)}", model)]
    if "network" in codec_names():
        for levels in subsets:
            try:
                rows += _codec_rows("keyset", f"network:{_levels(levels)}", model)
            except ConfigurationError:  # none was trained for these levels
                continue
    return rows


def precision_rows(model: DetectorModel) -> list[LevelRow]:
    """The study's key levels as fewer bytes than float32."""
    text = f"interpolate:levels={'+'.join(KEY_LEVELS)}"
    return [row for precision in _PRECISIONS for row in _codec_rows("precision", f"{text},{precision}", model)]


def _levels(levels: Sequence[str]) -> str:
    return f"levels={'+'.join(levels)},{_LOSSLESS}"


def _codec_rows(kind: Kind, codec: str, model: DetectorModel) -> list[LevelRow]:
    (row,) = codec_rows([codec], model)
    assert isinstance(row.how, CodecSettings)
    # In the full scope these are rows of the rate-AP table, and share its measurements.
    return _in_both_scopes(kind, row.key, row.how, row.setting, row.key_levels)


def _in_both_scopes(
    kind: Kind, key: str, how: Rebuild | CodecSettings, setting: str, key_levels: tuple[str, ...] | None = None
) -> list[LevelRow]:
    keys = {"rpn": f"rpn:{key}", "full": key}
    return [
        LevelRow(key=keys[scope], how=how, scope=scope, kind=kind, setting=setting, key_levels=key_levels)
        for scope in SCOPES
    ]
