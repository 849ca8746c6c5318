from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from keyfpn.benchmarks.engine import measure
from keyfpn.benchmarks.engine.session import Session
from keyfpn.benchmarks.levels.mix import beyond, fit_mix, grid_around, mix_of, search_mix
from keyfpn.benchmarks.levels.rebuild import LEVELS
from keyfpn.benchmarks.levels.rows import LevelRow
from keyfpn.detector.coco import Picture
from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.key_levels.fit import ParameterFitter

PICTURES = [Picture(id, Path(f"{id}.jpg")) for id in range(3)]


def pyramid(picture: Picture, *, noise: float) -> dict[str, Tensor]:
    """Random levels, and a p4 of 0.3 up(p5) + 0.9 down(p3)."""
    generator = torch.Generator().manual_seed(picture.id)
    geometry = Geometry(network_size=(64 + 32 * picture.id, 96), channels=3, size_divisibility=32)
    levels = {level: torch.randn(1, *geometry.level_shape(level), generator=generator) for level in LEVELS[:-1]}
    up = F.interpolate(levels["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    p4 = 0.3 * up + 0.9 * F.avg_pool2d(levels["p3"], 2)
    return levels | {"p4": p4 + noise * torch.randn(p4.shape, generator=generator)}


def session(monkeypatch: pytest.MonkeyPatch, noise: float) -> Session:
    """One whose worker is this process, with made-up features."""
    monkeypatch.setattr(measure, "features", lambda _, picture: pyramid(picture, noise=noise))
    stand_in: Any = SimpleNamespace(map=lambda function, _: (function(None, picture) for picture in PICTURES))
    return cast(Session, stand_in)


def test_least_squares_finds_the_mix_that_made_p4(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit_mix(session(monkeypatch, noise=0)) == pytest.approx((0.3, 0.9), abs=1e-4)


def test_least_squares_are_those_that_keyfpn_train_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter = ParameterFitter(Pyramid(4, LEVELS[:-1]))
    for picture in PICTURES:
        fitter.add(pyramid(picture, noise=1))
    expected = fitter.fit().mixes["p4", "p3", "p5"]
    assert fit_mix(session(monkeypatch, noise=1)) == pytest.approx(expected, abs=1.5e-4)
    assert expected != pytest.approx((0.3, 0.9), abs=0.01)


def test_the_grid_is_seven_by_seven_around_its_centre() -> None:
    grid = grid_around((0.5334, 0.2271))
    assert len(set(grid)) == 49
    assert grid[24] == (0.5334, 0.2271)
    assert {a for a, _ in grid} == {0.2334, 0.3334, 0.4334, 0.5334, 0.6334, 0.7334, 0.8334}
    assert min(b for _, b in grid) == -0.0729
    assert "-0.0" not in {str(value) for mix in grid_around((0.1, 0.3)) for value in mix}


def test_a_winner_at_the_rim_gets_a_grid_of_its_own() -> None:
    tried = set(grid_around((0.2, 0.5)))
    assert beyond(tried, (0.2, 0.5)) == beyond(tried, (0.4, 0.3)) == []
    more = beyond(tried, (0.3, 0.8))  # at the upper rim of b
    assert len(more) == 7 * 7 - 6 * 4
    assert tried.isdisjoint(more)
    assert {(0.3, 0.9), (0.2, 0.9), (0.4, 0.9)} <= set(more)
    tried |= set(more)
    assert beyond(tried, (0.3, 0.8)) == []
    assert len(beyond(tried, (-0.1, 0.2))) == 7 * 7 - 4 * 4  # at a corner


def test_the_search_follows_the_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    """From (0.3, 0.9) to a maximum seven steps away in b, two grids on."""

    def evaluate(rows: Sequence[Any], reference: Any = None) -> list[Any]:
        mixes = [row.how.mix if isinstance(row, LevelRow) else (0, 0) for row in rows]
        aps = [10 - (a - 0.2) ** 2 - (b - 1.6) ** 2 for a, b in mixes]
        return [SimpleNamespace(metrics=SimpleNamespace(AP=ap), intervals={"AP": (0.0, 1.0)}) for ap in aps]

    stand_in: Any = session(monkeypatch, noise=0)
    stand_in.data = SimpleNamespace(pictures=PICTURES)
    stand_in.measure, stand_in.mean, stand_in.evaluate = lambda _: None, lambda _: 0.0, evaluate
    found = search_mix(stand_in, "full")
    assert found.winner == pytest.approx((0.2, 1.6), abs=1e-3)
    assert found.least_squares == pytest.approx((0.3, 0.9), abs=1e-4)
    tried = [(one.row.scope, mix_of(one)) for one in found.measured]
    assert len(tried) == len(set(tried)) < 2 * 3 * 49
