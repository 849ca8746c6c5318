from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.detector.pyramid import Pyramid

PYRAMID = Pyramid(channels=4, independent=("p2", "p3", "p4", "p5"))
GEOMETRY = PYRAMID.geometry((90, 120))


def pyramid(dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    levels = {
        level: torch.randn(1, *GEOMETRY.level_shape(level), generator=generator).to(dtype).float()
        for level in PYRAMID.independent
    }
    return levels | {"p6": levels["p5"][:, :, ::2, ::2]}


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_features_come_back_bit_for_bit(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    cache = FeatureCache(tmp_path, precision, PYRAMID)
    features = pyramid(dtype)
    assert not cache.has(5, GEOMETRY)
    cache.write(5, {level: feature.to(memory_format=torch.channels_last) for level, feature in features.items()})
    assert cache.has(5, GEOMETRY)
    found = cache.read(5, GEOMETRY)
    assert list(found) == ["p2", "p3", "p4", "p5", "p6"]
    for level, feature in features.items():
        assert found[level].dtype == torch.float32
        assert torch.equal(found[level], feature)
    # 96 x 128 padded: 24 x 32 + 12 x 16 + 6 x 8 + 3 x 4 positions of 4 channels.
    assert cache.file_bytes(GEOMETRY) == 1020 * 4 * dtype.itemsize
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [cache.file_bytes(GEOMETRY)]


def test_values_that_the_stored_type_would_change_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="p2 of picture 5"):
        FeatureCache(tmp_path, "bf16", PYRAMID).write(5, pyramid(torch.float32))
    assert not FeatureCache(tmp_path, "bf16", PYRAMID).has(5, GEOMETRY)


def test_a_file_cut_short_counts_as_missing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "fp32", PYRAMID)
    cache.write(5, pyramid(torch.float32))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert not cache.has(5, GEOMETRY)


def test_room_is_asked_for_what_is_missing_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path / "features", "fp32", PYRAMID)
    one = cache.file_bytes(GEOMETRY)
    three = [(id, GEOMETRY) for id in (1, 2, 3)]
    assert cache.reserve(three) == 3 * one
    cache.write(2, pyramid(torch.float32))
    assert cache.reserve(three) == 2 * one
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * one))
    assert cache.reserve(three) == 2 * one
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * one - 1))
    with pytest.raises(BenchmarkError, match=r"GB of free disk for the features of 3 pictures, found .* GB\. "):
        cache.reserve(three)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * one))
    assert cache.reserve(three, promised=one) == 2 * one
    with pytest.raises(BenchmarkError, match="the features of 3 pictures"):
        cache.reserve(three, promised=one + 1)
