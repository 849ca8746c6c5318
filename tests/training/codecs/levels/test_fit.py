from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.training.codecs.levels.fit import parse_mixes

LEVELS = Pyramid(channels=8, independent=("p2", "p3", "p4", "p5")).levels
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS)
def test_a_mix_is_read_as_it_was_written(a: float, b: float) -> None:
    assert parse_mixes([f"p4={a},{b}"], LEVELS) == {("p4", "p3", "p5"): (a, b)}


def test_each_level_is_mixed_from_its_neighbours() -> None:
    mixes = parse_mixes(["p3=0.25,0.5", "p5=-1,2", "p4= 0.5 , 1e-3"], LEVELS)
    assert mixes == {("p3", "p2", "p4"): (0.25, 0.5), ("p5", "p4", "p6"): (-1.0, 2.0), ("p4", "p3", "p5"): (0.5, 0.001)}


def test_there_is_no_negative_zero() -> None:
    ((a, b),) = parse_mixes(["p4=-0.0,-0"], LEVELS).values()
    assert (math.copysign(1, a), math.copysign(1, b)) == (1, 1)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["p7=1,2"], r"--mix p7=1,2: expected a level between two others \(p3, p4, p5\), found p7"),
        (["p2=1,2"], r"--mix p2=1,2: expected a level between two others \(p3, p4, p5\), found p2"),
        (["=1,2"], r"--mix =1,2: expected a level between two others \(p3, p4, p5\), found none"),
        ([""], r"--mix : expected a level between two others \(p3, p4, p5\), found none"),
        (["p4"], r"--mix p4: expected a level and two numbers, as in p4=0\.25,0\.5, found no numbers"),
        (["p4=1"], r"--mix p4=1: expected a level and two numbers, as in p4=0\.25,0\.5, found 1"),
        (["p4=1,2,3"], r"--mix p4=1,2,3: expected a level and two numbers, as in p4=0\.25,0\.5, found 1,2,3"),
        (["p4=1,two"], r"--mix p4=1,two: expected finite numbers, found two"),
        (["p4=,2"], r"--mix p4=,2: expected finite numbers, found none"),
        (["p4=nan,1"], r"--mix p4=nan,1: expected finite numbers, found nan"),
        (["p4=1,1e999"], r"--mix p4=1,1e999: expected finite numbers, found 1e999"),
        (["p4=1,2", "p3=1,2", "p4=1,2"], r"--mix p4=1,2: expected each level once, found p4 again"),
    ],
)
def test_bad_mixes_are_named(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        parse_mixes(texts, LEVELS)


@given(st.text())
def test_whatever_the_text_there_are_finite_numbers_or_an_error(text: str) -> None:
    try:
        (((level, finer, coarser), mix),) = parse_mixes([f"p4={text}"], LEVELS).items()
    except ConfigurationError:
        return
    assert (level, finer, coarser) == ("p4", "p3", "p5")
    assert all(map(math.isfinite, mix))
