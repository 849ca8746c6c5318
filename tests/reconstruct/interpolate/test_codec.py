from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.interpolate.rule import EVEN_MIX, mix_of, nearest_levels
from keyfpn.reconstruct.registry import open_codec
from tests.reconstruct.packets import receive, send

LEVELS = ("p2", "p3", "p4", "p5", "p6")


def rebuild(model: Model, levels: str, features: dict[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
    packet = send(f"interpolate:levels={levels},precision=fp32", model, features, geometry.network_size)
    return receive(packet, model)


def test_the_studys_rule(bare_model: Model, features: dict[str, Tensor], geometry: Geometry) -> None:
    rebuilt = rebuild(bare_model, "p3+p5", features, geometry)
    up = F.interpolate(features["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    down = F.avg_pool2d(features["p3"], 2)
    torch.testing.assert_close(rebuilt["p4"], 0.5 * up + 0.5 * down)
    torch.testing.assert_close(rebuilt["p2"], F.interpolate(features["p3"], scale_factor=2, mode="bilinear"))
    assert torch.equal(rebuilt["p6"], features["p6"])


@pytest.mark.parametrize("size", range(1, 6))
def test_any_key_levels_give_a_whole_pyramid(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry, size: int
) -> None:
    for key_levels in itertools.combinations(LEVELS, size):
        rebuilt = rebuild(bare_model, "+".join(key_levels), features, geometry)
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
    assert nearest_levels(level, key_levels, LEVELS) == nearest


def test_the_mix_of_a_level_between_two() -> None:
    mixes = {("p4", "p3", "p5"): (0.2, 0.7)}
    assert mix_of("p4", ("p3", "p5"), mixes) == (0.2, 0.7)
    assert mix_of("p4", ("p2", "p6"), mixes) == EVEN_MIX == (0.5, 0.5)


def test_provenance_says_how_each_level_is_made(bare_model: Model) -> None:
    assert open_codec("interpolate", bare_model).provenance(("p3", "p5")) == {
        "p2": "bilinear from p3",
        "p3": "sent",
        "p4": "0.5 * up(p5) + 0.5 * down(p3)",
        "p5": "sent",
        "p6": "exact from p5 (max-pool, kernel 1, stride 2)",
    }
