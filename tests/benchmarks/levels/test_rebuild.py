from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.levels.rebuild import LEVELS, P4_OF_P3_AND_P5, Degrade, P4Mix
from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.codec import Unpacked
from keyfpn.reconstruct.interpolate.rebuilder import Interpolator

GEOMETRY = Geometry(network_size=(90, 150), channels=4, size_divisibility=32)  # p2 is 24 x 40, p6 2 x 3


@pytest.fixture
def features() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    levels = {level: torch.randn(1, *GEOMETRY.level_shape(level), generator=generator) for level in LEVELS}
    return levels | {"p6": levels["p5"][:, :, ::2, ::2]}


def test_a_factor_of_two_averages_and_scales_up(features: dict[str, Tensor]) -> None:
    how = Degrade((1.0, 2.0, 1.0, 1.0, 1.0))
    degraded = how.degrade(features, GEOMETRY)
    means = F.avg_pool2d(features["p3"], 2)
    expected = F.interpolate(means, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(degraded["p3"], expected)
    for level in ("p2", "p4", "p5", "p6"):
        assert torch.equal(degraded[level], features[level])
    values = 4 * (24 * 40 + 6 * 10 + 6 * 10 + 3 * 5 + 2 * 3)
    assert how.elements(GEOMETRY) == values


def test_any_factor_rounds_the_sides_and_never_below_one(features: dict[str, Tensor]) -> None:
    how = Degrade((3.5, 1.3, 100.0, 16.0, 16.0))
    degraded = how.degrade(features, GEOMETRY)
    # 24/3.5, 40/3.5 | 12/1.3, 20/1.3 | the others are one value per channel
    assert how.elements(GEOMETRY) == 4 * (7 * 11 + 9 * 15 + 1 + 1 + 1)
    for level in LEVELS:
        assert degraded[level].shape == features[level].shape
    for level in ("p4", "p5", "p6"):
        torch.testing.assert_close(degraded[level], degraded[level][:, :, :1, :1].expand_as(degraded[level]))


def test_some_levels_by_one_factor() -> None:
    assert Degrade.of(("p3", "p4"), 16.0) == Degrade((1.0, 16.0, 16.0, 1.0, 1.0))


@given(st.lists(st.floats(1, 1e6), min_size=5, max_size=5))
def test_five_factors_are_read_as_written(factors: list[float]) -> None:
    assert Degrade.parse(" ".join(map(repr, factors))).factors == tuple(factors)
    assert Degrade.parse(",".join(map(repr, factors))).factors == tuple(factors)


def test_factors_are_read_by_level() -> None:
    assert Degrade.parse("p6=4").factors == (1, 1, 1, 1, 4)
    assert Degrade.parse("p4=2.5 p2=8").factors == (8, 1, 2.5, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 1 0.5 1", "expected factors of at least 1, found 0.5"),
        ("1 1 1 nan 1", "expected factors of at least 1, found nan"),
        ("1 1 1 inf 1", "expected factors of at least 1, found inf"),
        ("1 1 one 1 1", "expected factors of at least 1, found one"),
        ("1 1 1 1 1 4", "expected 5 factors, for p2, p3, p4, p5, p6, found 6"),
        ("1 1 4", "expected 5 factors, for p2, p3, p4, p5, p6, found 3"),
        ("", "found 0"),
        ("p7=2", "expected levels among p2, p3, p4, p5, p6, found p7"),
        ("p2=2 4", "expected factors of at least 1, found none"),
        ("p2=0.9", "expected factors of at least 1, found 0.9"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=f"--cr {text}: .*{message}"):
        Degrade.parse(text)


def test_a_mix_is_the_codec_interpolate_with_that_mix(features: dict[str, Tensor]) -> None:
    mix = (0.3, 0.9)
    rebuilt = P4Mix(mix).rebuild(features, GEOMETRY)
    codec = Interpolator(Pyramid(4, ("p2", "p3", "p4", "p5")), {P4_OF_P3_AND_P5: mix})
    expected = codec.rebuild([Unpacked({level: features[level][0].numpy() for level in ("p3", "p5")}, GEOMETRY, 0)])
    for level in LEVELS:
        assert torch.equal(rebuilt[level], expected[level])
    up = F.interpolate(features["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(rebuilt["p4"], 0.3 * up + 0.9 * F.avg_pool2d(features["p3"], 2))


def test_what_is_sent_is_float32(features: dict[str, Tensor]) -> None:
    view: Any = SimpleNamespace(features=features, geometry=GEOMETRY)
    how = Degrade((1.0, 2.0, 1.0, 1.0, 1.0))
    sent = how.send(view)
    assert sent.bytes == 4 * how.elements(GEOMETRY)
    assert all(torch.equal(sent.features[level], how.degrade(features, GEOMETRY)[level]) for level in LEVELS)
    mix = P4Mix((0.3, 0.9)).send(view)
    assert mix.bytes == 4 * GEOMETRY.elements(["p3", "p5"])
    assert torch.equal(mix.features["p4"], P4Mix((0.3, 0.9)).rebuild(features, GEOMETRY)["p4"])
