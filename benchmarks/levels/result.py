"""The result of the level study, and ``levels.json``, by which other programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from types import MappingProxyType
from typing import Any

from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision

from ..engine.conditions import conditions
from ..engine.evaluation import Figures
from ..rate.curves import Point, envelope
from ..rate.result import STUDY_RATIO
from .mix import MixSearch
from .rebuild import KEY_LEVELS, Degrade, P4Mix
from .rows import Kind, Measured
from .scopes import SCOPES, Scope

SIZES: Mapping[str, str] = MappingProxyType({"APs": "small", "APm": "medium", "APl": "large"})
"""AP of objects of a size to its word."""
STUDY_PAIRS: Mapping[str, tuple[tuple[str, str], float]] = MappingProxyType(
    {"APs": (("p2", "p3"), -10.0), "APm": (("p4", "p5"), -10.0), "APl": (("p5", "p6"), -1.8)}
)
"""Where the study finds objects of a size, and the AP that they lose with both levels at its maximum.

X101 on COCO val2017, scope rpn (README of github.com/dbwp031/detectron2; the first two are "about 10").
"""


@dataclass(frozen=True, kw_only=True)
class LevelResult:
    """Every setting with its figures, in both scopes."""

    model: Model
    precision: Precision
    pictures: int
    raw_elements: float
    """Values of p2 … p6, mean per picture."""
    unsplit: Figures
    measured: Sequence[Measured]
    search: MixSearch | None
    """Of the rule for p4, on train pictures."""
    max_drop: float
    """AP, in points, that the cheapest key levels may lose."""

    @property
    def raw_bytes(self) -> float:
        """Float32 p2 … p6, mean per picture."""
        return 4 * self.raw_elements

    def ratio(self, measured: Measured) -> float:
        """The compression ratio against :attr:`raw_bytes`."""
        return self.raw_bytes / measured.figures.bytes

    def of(self, kind: Kind, scope: Scope) -> list[Measured]:
        """The settings of a kind in a scope: two scopes give the same settings in the same order."""
        return [one for one in self.measured if one.row.kind == kind and one.row.scope == scope]

    def both(self, kind: Kind) -> Iterator[dict[Scope, Measured]]:
        """Each setting of a kind, scope to measurement."""
        for pair in zip(*(self.of(kind, scope) for scope in SCOPES), strict=True):
            yield dict(zip(SCOPES, pair, strict=True))

    def find(self, how: Degrade | P4Mix, scope: Scope) -> Measured | None:
        """A degradation or mix, if it was measured."""
        return next((one for one in self.measured if one.row.how == how and one.row.scope == scope), None)

    def front(self, scope: Scope) -> list[Measured]:
        """The key sets that no other beats, or equals, in both values sent and AP; fewest first."""
        points = {Point(one.elements, one.ap): one for one in self.of("keyset", scope)[::-1]}
        return [points[point] for point in envelope(points)]

    def cheapest(self, scope: Scope) -> Measured | None:
        """The key set of fewest values whose AP is within the drop; None where no key set was measured."""
        floor = self.unsplit.metrics.AP - self.max_drop
        within = [one for one in self.of("keyset", scope) if one.ap >= floor]
        return min(within, key=lambda one: (one.elements, -one.ap), default=None)

    def studys(self, scope: Scope) -> list[Measured]:
        """p3 + p5, rebuilt by ``interpolate``: float32 first, then the other precisions."""
        return [
            one
            for kind in ("keyset", "precision")
            for one in self.of(kind, scope)
            if one.row.key_levels == KEY_LEVELS and one.row.setting.startswith("interpolate:")
        ]

    def at_study_ratio(self, scope: Scope) -> Measured | None:
        """Of :meth:`studys`, the one of most bytes within the study's 7.96x."""
        within = [one for one in self.studys(scope) if self.ratio(one) >= STUDY_RATIO]
        return min(within, key=self.ratio, default=None)

    def to_dict(self) -> dict[str, Any]:
        """What ``levels.json`` holds: AP in points; values and bytes per picture; ``xfold`` the compression ratio."""
        return conditions(self.model, self.precision, self.pictures, self.unsplit) | {
            "raw_elements": round(self.raw_elements, 1),
            "raw_bytes": round(self.raw_bytes, 1),
            "rows": [self._row(one) for one in self.measured],
            "pareto_front": {scope: [one.row.setting for one in self.front(scope)] for scope in SCOPES},
            "max_drop": self.max_drop,
            "cheapest": {scope: _setting(self.cheapest(scope)) for scope in SCOPES},
            "study": {"xfold": STUDY_RATIO, "within": {s: _setting(self.at_study_ratio(s)) for s in SCOPES}},
            "p4_search": self.search and self._search(self.search),
        }

    def _search(self, search: MixSearch) -> dict[str, Any]:
        low, high = search.gain
        return {
            "pictures": search.pictures,
            "scope": search.scope,
            "unsplit": search.unsplit.metrics.as_dict(),
            "least_squares": search.least_squares,
            "winner": search.winner,
            "winner_less_least_squares": {"dAP_low": round(low, 3), "dAP_high": round(high, 3)},
            "rows": [self._row(one) for one in search.measured],
        }

    def _row(self, measured: Measured) -> dict[str, Any]:
        row, figures = measured.row, measured.figures
        ends = {
            f"d{name}_{end}": _rounded(value)
            for name, interval in figures.intervals.items()
            for end, value in zip(("low", "high"), interval, strict=True)
        }
        return {
            "kind": row.kind,
            "scope": row.scope,
            "setting": row.setting,
            **_options(measured),
            "elements": round(measured.elements, 1),
            "bytes": round(figures.bytes, 1),
            "xfold": float(f"{self.raw_bytes / figures.bytes:.4g}"),
            **figures.metrics.as_dict(),
            "agreement": _rounded(figures.agreement),
            **ends,
        }

    def to_json(self) -> str:
        """The text of ``levels.json``."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def _options(measured: Measured) -> dict[str, Any]:
    how = measured.row.how
    if isinstance(how, Degrade):
        return {"factors": how.factors}
    if isinstance(how, P4Mix):
        return {"a": how.mix[0], "b": how.mix[1]}
    return {"key_levels": measured.row.key_levels}


def _setting(measured: Measured | None) -> str | None:
    return None if measured is None else measured.row.setting


def _rounded(value: float) -> float | None:
    return None if isnan(value) else round(value, 3)
