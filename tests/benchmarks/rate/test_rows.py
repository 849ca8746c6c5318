from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from keyfpn.benchmarks.engine.detector import Detector
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.engine.measure import measure_view
from keyfpn.benchmarks.engine.view import View
from keyfpn.benchmarks.rate.baselines import Baseline, receive
from keyfpn.benchmarks.rate.rows import baseline_rows, codec_rows, default_codecs, original_row
from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.errors import ConfigurationError
from tests.benchmarks.compare import assert_same


@pytest.mark.parametrize("size", ["network", "0.5"])
def test_a_baseline_row_is_the_detector_on_what_arrives(
    quick_detector: Detector, data: CocoData, detect: Callable[..., Detections], size: str, tmp_path: Path
) -> None:
    row = next(r for r in baseline_rows([size]) if r.setting == f"jpeg:quality=60,subsampling=4:2:0,size={size}")
    view = View(quick_detector, FeatureCache(tmp_path, "fp32", quick_detector.model.pyramid), data.pictures[0])
    (found,) = measure_view(view, [row.way])
    assert not list(tmp_path.iterdir())
    assert not row.way.reads_features
    original = read_picture(view.picture.path)
    baseline = Baseline("jpeg", 60, "4:2:0", size)
    sent = baseline.encode(baseline.shrink(original, view.network_size))
    assert found.bytes == len(sent)
    assert_same(found.detections, detect(original, resized=receive(sent, view.network_size)))


def test_publishing_one_codec_leaves_the_others_measurements(detector_model: Model, learned_model: Model) -> None:
    keys = [
        {row.setting: row.key for row in codec_rows(["raw", "interpolate"], m)} for m in (detector_model, learned_model)
    ]
    assert keys[0] == keys[1]
    (network_row,), (learned_row,) = (codec_rows([name], learned_model) for name in ("network", "learned"))
    own = {key.split("@")[1] for key in (*keys[0].values(), network_row.key, learned_row.key)}
    assert len(own) == 3
    settings = default_codecs(learned_model)
    assert {setting.split(":")[0] for setting in settings} == {"raw", "interpolate", "network", "learned"}
    assert [s for s in settings if s.startswith("learned")] == [f"learned:quality={quality}" for quality in (1, 2, 3)]


def test_codec_rows_are_told_apart_by_settings_and_model(detector_model: Model) -> None:
    texts = ["raw:precision=fp16", "raw:coder=store,precision=fp16,levels=p2+p3+p4+p5", "raw:precision=fp32"]
    rows = codec_rows(texts, detector_model)  # the first two are one
    assert [row.setting for row in rows] == [
        "raw:levels=p2+p3+p4+p5,precision=fp16,coder=store",
        "raw:levels=p2+p3+p4+p5,precision=fp32,coder=store",
    ]
    assert rows[0].key_levels == ("p2", "p3", "p4", "p5")
    assert rows[0].key.partition("@")[0] == rows[0].setting
    assert baseline_rows(["network"])[0].key == "jpeg:quality=30,subsampling=4:2:0,size=network"
    hashes = {**detector_model.manifest.hashes, "detector.safetensors": "another"}
    manifest = dataclasses.replace(detector_model.manifest, hashes=hashes)
    (other,) = codec_rows(texts[:1], dataclasses.replace(detector_model, manifest=manifest))
    assert other.key != rows[0].key
    with pytest.raises(ConfigurationError, match="nonsense"):
        codec_rows(["nonsense"], detector_model)


@pytest.mark.parametrize(
    ("names", "family"),
    [(["a.jpg", "b.JPEG", "c.png"], "jpeg"), (["a.png"], "png"), (["a.tif", "b.tiff"], "tiff"), (["a.avif"], "avif")],
)
def test_the_original_row_belongs_to_the_family_of_most_files(names: list[str], family: str) -> None:
    row = original_row([Picture(id, Path(name)) for id, name in enumerate(names)])
    assert (row.key, row.family, row.size, row.key_levels) == ("original", family, "original", None)
