"""Rate-AP curves: the envelope of a family, the rate at a drop, the AP at a rate, and BD-rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import bjontegaard

_FEWEST_BD_POINTS = 4


@dataclass(frozen=True, order=True)
class Point:
    """A setting's mean bytes per picture and its AP in points."""

    rate: float
    ap: float


@dataclass(frozen=True)
class BdRate:
    """A Bjøntegaard delta rate."""

    percent: float | None
    """Bytes that the tested curve needs more (less, below 0) than the other at equal AP, on average over log bytes;
    None with fewer than four Pareto points on either curve, or without overlap."""
    overlap: float
    """The share, 0 to 1, of the curves' joint AP interval that both cover: the average is over that alone."""


def envelope(points: Iterable[Point]) -> list[Point]:
    """The lower envelope of bytes over AP: the points that no other beats, or equals, in both.

    Returns:
        Ascending, strictly, in rate and in AP.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.rate, -point.ap)):
        if not kept or point.ap > kept[-1].ap:
            kept.append(point)
    return kept


def rate_at(curve: Sequence[Point], ap: float) -> float | None:
    """The smallest rate from which on every higher rate of the curve has at least a given AP.

    Args:
        curve: points, ascending in rate; AP need not be monotone.
        ap: the floor.

    Returns:
        Bytes, where AP, linear in the logarithm of bytes, crosses the floor for the last time; None where the curve
        does not bracket it: its highest rate is below the floor, or no point is.
    """
    for below, above in reversed(list(pairwise(curve))):
        if above.ap < ap:
            return None
        if below.ap < ap:
            share = (ap - below.ap) / (above.ap - below.ap)
            return math.exp(math.log(below.rate) + share * (math.log(above.rate) - math.log(below.rate)))
    return None


def ap_at(curve: Sequence[Point], rate: float) -> float | None:
    """The AP that an envelope reaches within a rate.

    Returns:
        AP, linear in the logarithm of bytes between points; the last point's from its rate on, as nobody has to send
        more; None below the first point.
    """
    if not curve or rate < curve[0].rate:
        return None
    for below, above in pairwise(curve):
        if rate < above.rate:
            share = math.log(rate / below.rate) / math.log(above.rate / below.rate)
            return below.ap + share * (above.ap - below.ap)
    return curve[-1].ap


def bd_rate(test: Sequence[Point], baseline: Sequence[Point]) -> BdRate:
    """The BD-rate of one envelope against another (ITU-T VCEG-M33), by monotone cubics (pchip)."""
    both = [point.ap for curve in (test, baseline) if curve for point in curve]
    if not test or not baseline or max(both) == min(both):
        return BdRate(None, 0.0)
    common = min(test[-1].ap, baseline[-1].ap) - max(test[0].ap, baseline[0].ap)
    overlap = max(common, 0.0) / (max(both) - min(both))
    if overlap == 0 or min(len(test), len(baseline)) < _FEWEST_BD_POINTS:
        return BdRate(None, overlap)
    percent = bjontegaard.bd_rate(
        [point.rate for point in baseline],
        [point.ap for point in baseline],
        [point.rate for point in test],
        [point.ap for point in test],
        method="pchip",
        require_matching_points=False,
        min_overlap=0,  # a small overlap is part of the result, not a warning
    )
    return BdRate(float(percent), overlap)
