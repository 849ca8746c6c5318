from __future__ import annotations

import dataclasses

import pytest

from keyfpn.benchmarks.engine.codecs import CodecWay
from keyfpn.benchmarks.levels.rebuild import Degrade
from keyfpn.benchmarks.levels.rows import degradation_grid, degrade_rows, keyset_rows, mix_rows, own_mix, precision_rows
from keyfpn.benchmarks.rate.rows import codec_rows
from keyfpn.detector.model import Model
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.key_levels.parameters import Parameters

SUBSETS = 15  # of four levels, without the empty one


def test_the_grid_is_every_level_alone_the_neighbours_and_all() -> None:
    grid = degradation_grid()
    assert len(grid) == len(set(grid)) == 5 * 4 + 4 + 4
    assert {Degrade((1, 1, 1, factor, 1)) for factor in (2, 4, 8, 16)} < set(grid)
    assert Degrade((1, 16, 16, 1, 1)) in grid
    assert Degrade((4, 4, 4, 4, 4)) in grid


def test_every_setting_is_there_in_both_scopes_under_keys_of_their_own(quick_model: Model) -> None:
    rows = [*degrade_rows(degradation_grid()), *keyset_rows(quick_model), *precision_rows(quick_model)]
    rows += mix_rows([(0.5, 0.5), (0.0, 1.0), (0.5, 0.5)])
    assert len(rows) == 2 * (28 + SUBSETS + 3 + 2)
    assert len({row.key for row in rows}) == len(rows)
    assert [row.scope for row in rows] == ["rpn", "full"] * (len(rows) // 2)
    for rpn, full in zip(rows[::2], rows[1::2], strict=True):
        assert (rpn.setting, rpn.how) == (full.setting, full.how)


def test_key_sets_in_the_full_scope_are_rows_of_the_rate_table(quick_model: Model) -> None:
    (row,) = codec_rows(["interpolate:levels=p3+p5,precision=fp32"], quick_model)
    found = [one for one in keyset_rows(quick_model) if one.key_levels == ("p3", "p5")]
    assert [one.key == row.key for one in found] == [False, True]
    assert {one.how for one in found} == {row.way}


def test_a_network_is_searched_where_there_is_one(quick_model: Model, quick_learned_model: Model) -> None:
    assert len(keyset_rows(quick_model)) == 2 * SUBSETS
    rows = keyset_rows(quick_learned_model)
    assert len(rows) == 2 * 2 * SUBSETS
    assert {row.setting.partition(":")[0] for row in rows[-2 * SUBSETS :]} == {"network"}
    assert "network:levels=p3+p5,precision=fp32,coder=store" in {row.setting for row in rows}


def test_a_key_set_that_a_codec_refuses_is_no_gap(quick_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str, model: Model) -> CodecWay:
        if "levels=p3+p5" in text:
            raise ConfigurationError("codec", "files for these levels", "none")
        return of(text, model)

    of = CodecWay.of
    monkeypatch.setattr(CodecWay, "of", refuse)
    with pytest.raises(ConfigurationError, match="expected files for these levels, found none"):
        keyset_rows(quick_model)


def test_elements_are_those_sent(quick_model: Model) -> None:
    geometry = quick_model.geometry((384, 512))
    (rpn, _) = mix_rows([(0.5, 0.5)])
    assert geometry.elements(["p2", "p3", "p4", "p5", "p6"]) / rpn.elements(geometry) == pytest.approx(341 / 68)
    (_, full) = degrade_rows([Degrade((16, 1, 1, 1, 1))])
    assert full.elements(geometry) == 128 * (6 * 8 + 48 * 64 + 24 * 32 + 12 * 16 + 6 * 8)


def test_the_models_own_mix(quick_model: Model) -> None:
    assert own_mix(quick_model) == Parameters.of(quick_model).mixes["p4", "p3", "p5"]
    bare = dataclasses.replace(quick_model, folder=None)
    assert own_mix(bare) == (0.5, 0.5)
