from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.errors import InvalidField
from keyfpn.protocol.geometry import PYRAMID_LEVELS, Geometry

SIDES = st.integers(1, 8192)


def test_the_study_picture() -> None:
    """800 x 1333 through the zoo's X101-FPN, as its features come out."""
    geometry = Geometry(network_size=(800, 1333), channels=256, size_divisibility=32)
    assert geometry.padded_size == (800, 1344)
    assert [geometry.level_shape(level) for level in PYRAMID_LEVELS] == [
        (256, 200, 336),
        (256, 100, 168),
        (256, 50, 84),
        (256, 25, 42),
        (256, 13, 21),
        (256, 7, 11),
    ]
    assert geometry.raw_bytes() == 4 * 256 * (200 * 336 + 100 * 168 + 50 * 84 + 25 * 42 + 13 * 21)
    assert geometry.raw_bytes(["p3", "p5"]) == 4 * geometry.elements(["p3", "p5"]) == 4 * 256 * (100 * 168 + 25 * 42)


def test_without_divisibility_sides_are_rounded_up() -> None:
    geometry = Geometry(network_size=(33, 1), channels=3, size_divisibility=0)
    assert geometry.padded_size == (33, 1)
    assert [geometry.level_shape(level)[1:] for level in PYRAMID_LEVELS] == [
        (9, 1),
        (5, 1),
        (3, 1),
        (2, 1),
        (1, 1),
        (1, 1),
    ]


@given(SIDES, SIDES, st.integers(1, 512), st.sampled_from([0, 1, 32, 64, 128]))
def test_each_level_halves_the_one_before(height: int, width: int, channels: int, divisibility: int) -> None:
    """A convolution or pooling of stride 2, kernel 3 with padding 1 or kernel 1, gives floor((n - 1) / 2) + 1."""
    geometry = Geometry(network_size=(height, width), channels=channels, size_divisibility=divisibility)
    shapes = [geometry.level_shape(level) for level in PYRAMID_LEVELS]
    for finer, coarser in pairwise(shapes):
        assert coarser == (channels, *((side - 1) // 2 + 1 for side in finer[1:]))
    for side, padded in zip((height, width), geometry.padded_size, strict=True):
        assert padded >= side
        assert padded % max(divisibility, 1) == 0
        assert padded - side < max(divisibility, 1)


def test_cells_cover_the_padded_size() -> None:
    geometry = Geometry(network_size=(70, 41), channels=1, size_divisibility=0)
    assert [geometry.cells(stride) for stride in (1, 3, 16, 70, 71)] == [(70, 41), (24, 14), (5, 3), (1, 1), (1, 1)]
    assert Geometry(network_size=(70, 41), channels=1, size_divisibility=32).cells(24) == (4, 3)


@pytest.mark.parametrize("level", ["p1", "p8", "y0", "", "P3"])
def test_other_levels_have_no_shape(level: str) -> None:
    with pytest.raises(InvalidField, match="one of p2, p3"):
        Geometry(network_size=(32, 32), channels=1, size_divisibility=0).level_shape(level)


@pytest.mark.parametrize(
    ("size", "channels", "divisibility"), [((0, 5), 1, 0), ((5, -1), 1, 0), ((5, 5), 0, 32), ((5, 5), 1, -1)]
)
def test_impossible_geometry(size: tuple[int, int], channels: int, divisibility: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Geometry(network_size=size, channels=channels, size_divisibility=divisibility)
