from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from keyfpn.benchmarks.rate.curves import Point, ap_at, bd_rate, envelope, rate_at

POINTS = st.lists(st.builds(Point, st.floats(1, 1e7), st.floats(0, 100)), max_size=30)


def test_envelope_keeps_what_nothing_beats() -> None:
    kept = [Point(100, 5), Point(300, 9), Point(1000, 12)]
    beaten = [Point(150, 4), Point(300, 8), Point(400, 9), Point(5000, 12), Point(900, 8.9)]
    assert envelope([*beaten, *kept]) == kept
    assert envelope([]) == []


@given(POINTS)
def test_envelope_is_monotone_and_beaten_by_no_point(points: list[Point]) -> None:
    curve = envelope(points)
    assert all(a.rate < b.rate and a.ap < b.ap for a, b in pairwise(curve))
    for point in points:
        assert any(kept.rate <= point.rate and kept.ap >= point.ap for kept in curve)
    assert set(curve) <= set(points)


def test_rate_at_is_linear_in_log_bytes() -> None:
    # 15 lies halfway from 10 to 20, so the rate is the geometric mean of 100 and 10,000.
    assert rate_at([Point(100, 10), Point(10_000, 20), Point(20_000, 21)], 15) == pytest.approx(1000)
    # A quarter of the way from (1000, 16) to (16000, 20) is 1000 * 16 ** 0.25.
    assert rate_at([Point(100, 10), Point(1000, 16), Point(16_000, 20)], 17) == pytest.approx(2000)


def test_rate_at_takes_the_last_crossing_of_a_curve_that_is_not_monotone() -> None:
    # Within the drop at 100, below at 1000, within again from between 1000 and 100,000 on.
    curve = [Point(10, 1), Point(100, 17), Point(1000, 15), Point(100_000, 17)]
    assert rate_at(curve, 16) == pytest.approx(10_000)


def test_rate_at_a_point_of_the_curve_is_its_rate() -> None:
    assert rate_at([Point(100, 10), Point(400, 16), Point(900, 20)], 16) == pytest.approx(400)


@pytest.mark.parametrize(
    "curve",
    [
        [Point(100, 10), Point(1000, 15)],  # never reaches it
        [Point(100, 17), Point(1000, 18)],  # never below it
        [Point(100, 10), Point(1000, 18), Point(2000, 15)],  # the highest rate falls out of the drop
        [Point(100, 17)],
        [],
    ],
)
def test_rate_at_is_none_where_it_is_not_bracketed(curve: list[Point]) -> None:
    assert rate_at(curve, 16) is None


def test_ap_at_a_rate() -> None:
    curve = [Point(100, 10), Point(10_000, 20)]
    assert ap_at(curve, 1000) == pytest.approx(15)
    assert ap_at(curve, 100) == 10
    assert ap_at(curve, 10_000) == 20
    assert ap_at(curve, 1e9) == 20  # nobody has to send more
    assert ap_at(curve, 99) is None
    assert ap_at([], 99) is None


def test_bd_rate_of_half_the_bytes_is_minus_fifty_percent_and_the_other_way_a_hundred() -> None:
    baseline = [Point(1000 * 2**i, 10 + i + 0.1 * i**2) for i in range(5)]
    test = [Point(point.rate / 2, point.ap) for point in baseline]
    assert bd_rate(test, baseline).percent == pytest.approx(-50)
    assert bd_rate(baseline, test).percent == pytest.approx(100)
    assert bd_rate(test, baseline).overlap == 1


def test_bd_rate_is_the_mean_log_ratio_over_the_shared_ap() -> None:
    baseline = [Point(1000, 10), Point(3000, 13), Point(5000, 15), Point(20_000, 18)]
    test = [Point(900, 12), Point(1500, 14), Point(2500, 17), Point(9000, 20)]
    grid = np.linspace(12, 18, 20_001)
    logs = [
        PchipInterpolator([p.ap for p in curve], np.log([p.rate for p in curve]))(grid) for curve in (test, baseline)
    ]
    result = bd_rate(test, baseline)
    assert result.percent == pytest.approx(100 * (math.exp(np.mean(logs[0] - logs[1])) - 1), abs=0.01)
    assert result.overlap == pytest.approx(6 / 10)


def test_bd_rate_needs_four_points_and_an_overlap() -> None:
    four = [Point(1000 * 2**i, 10 + i) for i in range(4)]
    three_within = bd_rate(four[:3], four)
    assert three_within.percent is None
    assert three_within.overlap == pytest.approx(2 / 3)
    apart = bd_rate([Point(p.rate, p.ap + 50) for p in four], four)
    assert (apart.percent, apart.overlap) == (None, 0)
    assert bd_rate([], four).percent is None
