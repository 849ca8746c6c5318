"""The result of the rate-AP benchmark, and ``rate.json``, by which other programs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from types import MappingProxyType
from typing import Any

from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision

from ..engine.conditions import conditions
from ..engine.evaluation import Figures
from .baselines import SIZES
from .curves import BdRate, Point, ap_at, bd_rate, envelope, rate_at
from .rows import RateRow

STUDY_RATIO = 7.96
"""The headline of the study that this project starts from: 7.96 times less data "at 1.4 % AP drop"."""
DROPS: Mapping[str, str] = MappingProxyType({"points_1.4": "−1.4 points", "relative_3.3": "−3.3 % relative"})
"""Key in ``rate.json`` to its words: that drop, read in points and as the share of 43.0 AP that it was there."""


@dataclass(frozen=True)
class RateResult:
    """Every row with its figures; the first is the original file, which the unsplit detector reads."""

    model: Model
    precision: Precision
    pictures: int
    raw_bytes: float
    """Float32 p2 … p6, mean bytes per picture."""
    rows: Sequence[RateRow]
    figures: Sequence[Figures]

    @property
    def unsplit_ap(self) -> float:
        return self.figures[0].metrics.AP

    @property
    def floors(self) -> dict[str, float]:
        """The AP at each of the drops."""
        return {"points_1.4": self.unsplit_ap - 1.4, "relative_3.3": self.unsplit_ap * (1 - 0.033)}

    @cached_property
    def families(self) -> dict[str, list[Point]]:
        """The envelope of each family."""
        return {family: self._envelope(family) for family in self._names}

    @cached_property
    def lines(self) -> dict[str, list[Point]]:
        """The envelopes that the rates at a drop are read from.

        ``jpeg@envelope`` is of all sizes, ``jpeg@0.75`` of one, and so on; a codec has one, under its name.
        """
        lines = {}
        for family in self._names:
            if any(row.family == family and row.size is None for row in self.rows):
                lines[family] = self.families[family]
                continue
            lines[f"{family}@envelope"] = self.families[family]
            for size in SIZES:
                if line := self._envelope(family, size):
                    lines[f"{family}@{size}"] = line
        return lines

    @cached_property
    def at_drop(self) -> dict[str, dict[str, float | None]]:
        """For each drop, the bytes of each line at it; None where the line does not bracket it.

        Two rows of one size may have a line between them that passes below a row of another size, which the envelope of
        all sizes holds to: so it counts as no higher than the lowest of the family's lines.
        """
        return {drop: self._rates_at(floor) for drop, floor in self.floors.items()}

    def _rates_at(self, floor: float) -> dict[str, float | None]:
        rates = {name: rate_at(line, floor) for name, line in self.lines.items()}
        for name in rates:
            family, _, size = name.partition("@")
            if size == "envelope":
                found = [rate for other, rate in rates.items() if other.startswith(f"{family}@") and rate is not None]
                rates[name] = min(found, default=None)
        return rates

    @property
    def at_study_rate(self) -> dict[str, float | None]:
        """The AP of each family within the study's rate; None for one whose fewest bytes are more."""
        return {family: ap_at(curve, self.raw_bytes / STUDY_RATIO) for family, curve in self.families.items()}

    @cached_property
    def bd_rates(self) -> dict[str, dict[str, BdRate]]:
        """Family to every other family to the BD-rate of the former against the latter."""
        return {
            test: {baseline: bd_rate(curve, other) for baseline, other in self.families.items() if baseline != test}
            for test, curve in self.families.items()
        }

    @cached_property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(row.family for row in self.rows))

    def _envelope(self, family: str, size: str | None = None) -> list[Point]:
        return envelope(
            Point(figures.bytes, figures.metrics.AP)
            for row, figures in zip(self.rows, self.figures, strict=True)
            if row.family == family and size in (None, row.size)
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``rate.json`` holds: AP in points, bytes per picture, ``xfold`` the
        compression ratio against :attr:`raw_bytes`.
        """
        return conditions(self.model, self.precision, self.pictures, self.figures[0]) | {
            "raw_bytes": round(self.raw_bytes, 1),
            "rows": [self._row(row, figures) for row, figures in zip(self.rows, self.figures, strict=True)],
            "at_drop": {drop: {k: _rounded(v, 1) for k, v in rates.items()} for drop, rates in self.at_drop.items()},
            "at_study_rate": {
                "xfold": STUDY_RATIO,
                "bytes": round(self.raw_bytes / STUDY_RATIO, 1),
                "AP": {family: _rounded(ap, 3) for family, ap in self.at_study_rate.items()},
            },
            "bd_rate": {
                test: {baseline: _bd_rate_dict(rate) for baseline, rate in rates.items()}
                for test, rates in self.bd_rates.items()
            },
        }

    def _row(self, row: RateRow, figures: Figures) -> dict[str, Any]:
        low, high = figures.intervals["AP"]
        return {
            "family": row.family,
            "setting": row.setting,
            "size": row.size,
            "key_levels": row.key_levels and list(row.key_levels),
            "bytes": round(figures.bytes, 1),
            "xfold": float(f"{self.raw_bytes / figures.bytes:.4g}"),
            **figures.metrics.as_dict(),
            "agreement": None if isnan(figures.agreement) else round(figures.agreement, 3),
            "dAP_low": round(low, 3),
            "dAP_high": round(high, 3),
        }

    def to_json(self) -> str:
        """The text of ``rate.json``."""
        return json.dumps(self.to_dict(), indent=1) + "\n"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _bd_rate_dict(rate: BdRate) -> dict[str, float | None]:
    return {"percent": _rounded(rate.percent, 2), "overlap": round(rate.overlap, 3)}
