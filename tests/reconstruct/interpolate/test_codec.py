from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.codec import LEVELS, build_codec
from keyfpn.reconstruct.fit import ParameterFitter
from keyfpn.reconstruct.interpolate import nearest_levels
from keyfpn.reconstruct.parameters import Parameters


@pytest.fixture(scope="module")
def model() -> Model:
    """A detector without fitted mixes."""
    return Model("bare", open_model().cfg, Path("none"), Manifest("bare"), None)


def rebuild(model: Model, levels: str, features: dict[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
    codec = build_codec(f"interpolate:levels={levels},precision=fp32", model)
    return codec.decode(codec.encode(features), geometry)


def test_the_studys_rule(model: Model, features: dict[str, Tensor], geometry: Geometry) -> None:
    rebuilt = rebuild(model, "p3+p5", features, geometry)
    up = F.interpolate(features["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    down = F.avg_pool2d(features["p3"], 2)
    torch.testing.assert_close(rebuilt["p4"], 0.5 * up + 0.5 * down)
    torch.testing.assert_close(rebuilt["p2"], F.interpolate(features["p3"], scale_factor=2, mode="bilinear"))
    assert torch.equal(rebuilt["p6"], features["p6"])


@pytest.mark.parametrize("size", range(1, 6))
def test_any_key_levels_give_a_whole_pyramid(
    model: Model, features: dict[str, Tensor], geometry: Geometry, size: int
) -> None:
    for key_levels in itertools.combinations(LEVELS, size):
        rebuilt = rebuild(model, "+".join(key_levels), features, geometry)
        for level in LEVELS:
            assert rebuilt[level].shape == features[level].shape
            assert rebuilt[level].any()
            if level in key_levels:
                assert torch.equal(rebuilt[level], features[level])


@pytest.mark.parametrize(
    ("level", "key_levels", "nearest"),
    [
        ("p4", ("p3", "p5"), ("p3", "p5")),
        ("p4", ("p2", "p5"), ("p5",)),
        ("p4", ("p2", "p6"), ("p2", "p6")),
        ("p2", ("p3", "p5"), ("p3",)),
        ("p5", ("p2",), ("p2",)),
        ("p3", ("p2", "p4", "p5"), ("p2", "p4")),
    ],
)
def test_missing_levels_come_from_the_nearest(
    level: str, key_levels: tuple[str, ...], nearest: tuple[str, ...]
) -> None:
    assert nearest_levels(level, key_levels) == nearest


def test_least_squares_finds_the_mix_that_made_a_level(
    tmp_path: Path, model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    up = F.interpolate(features["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    made = {**features, "p4": 0.3 * up + 0.9 * F.avg_pool2d(features["p3"], 2)}
    fitter = ParameterFitter()
    fitter.add(made)
    parameters = fitter.fit()
    assert parameters.mixes["p4", "p3", "p5"] == pytest.approx((0.3, 0.9), abs=1e-3)
    parameters.write(tmp_path)
    fitted = Model("fitted", model.cfg, model.weights, Manifest.of_folder(tmp_path), tmp_path)
    assert Parameters.of(fitted).mixes == parameters.mixes
    rebuilt = rebuild(fitted, "p3+p5", made, geometry)
    torch.testing.assert_close(rebuilt["p4"], made["p4"], atol=2e-3, rtol=0)
    words = build_codec("interpolate", fitted).provenance()
    assert words["p4"] == "0.3 * up(p5) + 0.9 * down(p3)"
    assert words["p2"] == "bilinear from p3"


def test_the_fit_needs_a_picture() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        ParameterFitter().fit()
