from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
from typing_extensions import Self

from keyfpn.benchmarks.levels.rebuild import Degrade
from keyfpn.benchmarks.levels.rows import degradation_grid, degrade_rows, keyset_rows, mix_rows, own_mix, precision_rows
from keyfpn.benchmarks.rate.rows import codec_rows
from keyfpn.detector.model import Model
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.codec import _REGISTRY
from keyfpn.reconstruct.interpolate import InterpolateCodec
from keyfpn.reconstruct.key_levels.parameters import Parameters
from keyfpn.reconstruct.settings import CodecSettings

SUBSETS = 15  # of four levels, without the empty one


class OneNetwork(InterpolateCodec):
    """A codec ``network`` that was trained for one set of key levels."""

    name: ClassVar[str] = "network"

    @classmethod
    def from_settings(cls, settings: CodecSettings, model: Model) -> Self:
        if dict(settings.options)["levels"] != "p3+p5":
            raise ConfigurationError("codec network", "files for these levels", "none")
        return super().from_settings(settings, model)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_REGISTRY, "network", raising=False)


def test_the_grid_is_every_level_alone_the_neighbours_and_all() -> None:
    grid = degradation_grid()
    assert len(grid) == len(set(grid)) == 5 * 4 + 4 + 4
    assert {Degrade((1, 1, 1, factor, 1)) for factor in (2, 4, 8, 16)} < set(grid)
    assert Degrade((1, 16, 16, 1, 1)) in grid
    assert Degrade((4, 4, 4, 4, 4)) in grid


def test_every_setting_is_there_in_both_scopes_under_keys_of_their_own(detector_model: Model) -> None:
    rows = [*degrade_rows(degradation_grid()), *keyset_rows(detector_model), *precision_rows(detector_model)]
    rows += mix_rows([(0.5, 0.5), (0.0, 1.0), (0.5, 0.5)])
    assert len(rows) == 2 * (28 + SUBSETS + 3 + 2)
    assert len({row.key for row in rows}) == len(rows)
    assert [row.scope for row in rows] == ["rpn", "full"] * (len(rows) // 2)
    for rpn, full in zip(rows[::2], rows[1::2], strict=True):
        assert (rpn.setting, rpn.how) == (full.setting, full.how)


def test_key_sets_in_the_full_scope_are_rows_of_the_rate_table(detector_model: Model) -> None:
    (row,) = codec_rows(["interpolate:levels=p3+p5,precision=fp32"], detector_model)
    found = [one for one in keyset_rows(detector_model) if one.key_levels == ("p3", "p5")]
    assert [one.key == row.key for one in found] == [False, True]
    assert {one.how for one in found} == {row.way}


def test_a_network_is_searched_where_there_is_one(detector_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(keyset_rows(detector_model)) == 2 * SUBSETS
    monkeypatch.setitem(_REGISTRY, "network", OneNetwork)
    rows = keyset_rows(detector_model)
    assert len(rows) == 2 * SUBSETS + 2
    assert {row.setting for row in rows[-2:]} == {"network:levels=p3+p5,precision=fp32,coder=store"}


def test_a_key_set_that_interpolate_refuses_is_no_gap(detector_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_REGISTRY, "interpolate", OneNetwork)
    with pytest.raises(ConfigurationError, match="expected files for these levels, found none"):
        keyset_rows(detector_model)


def test_elements_are_those_sent(detector_model: Model) -> None:
    geometry = detector_model.geometry((384, 512))
    (rpn, _) = mix_rows([(0.5, 0.5)])
    assert geometry.elements(["p2", "p3", "p4", "p5", "p6"]) / rpn.elements(geometry) == pytest.approx(341 / 68)
    (_, full) = degrade_rows([Degrade((16, 1, 1, 1, 1))])
    assert full.elements(geometry) == 128 * (6 * 8 + 48 * 64 + 24 * 32 + 12 * 16 + 6 * 8)


def test_the_models_own_mix(detector_model: Model) -> None:
    assert own_mix(detector_model) == Parameters.of(detector_model).mixes["p4", "p3", "p5"]
    bare = dataclasses.replace(detector_model, folder=None)
    assert own_mix(bare) == (0.5, 0.5)
