from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from detectron2.modeling import GeneralizedRCNN
from PIL import Image

from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.engine.measure import Measurer, Source, geometries
from keyfpn.benchmarks.levels.rebuild import Degrade
from keyfpn.benchmarks.rate.baselines import Anchor, receive
from keyfpn.benchmarks.rate.rows import RateRow, Row, anchor_rows, codec_rows, default_codecs, original_row
from keyfpn.detector import BUNDLED
from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.detections import Detections
from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf, ServerHalf
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.codec import build_codec


@pytest.fixture(scope="module")
def picture(data: CocoData) -> Picture:
    return data.pictures[0]


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def measurer(features: Path) -> Measurer:
    return Measurer(Source(BUNDLED, None, "fp32", features))


def assert_same(found: Detections, expected: Detections) -> None:
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_the_original_row_is_the_unsplit_detector_at_the_files_size(
    measurer: Measurer, picture: Picture, detect
) -> None:
    (found,) = measurer.measure(picture, [original_row([picture])])
    assert (found.row, found.picture, found.bytes) == ("original", picture.id, picture.path.stat().st_size)
    assert_same(found.detections, detect(read_picture(picture.path)))
    assert len(found.detections) > 3


def test_a_learned_row_reads_below_the_pyramid(
    learned_model: DetectorModel, network: GeneralizedRCNN, picture: Picture, tmp_path: Path
) -> None:
    measurer = Measurer(Source(str(learned_model.folder), None, "fp32", tmp_path))
    (row,) = codec_rows(["learned:quality=2"], learned_model)
    (found,) = measurer.measure(picture, [row])
    codec, preprocessor = build_codec("learned:quality=2", learned_model), Preprocessor(learned_model.cfg)
    pixels = read_picture(picture.path)
    resized = preprocessor.resize(pixels)
    size = (resized.shape[0], resized.shape[1])
    chunks = codec.encode(EdgeHalf(network, codec.key_levels)(preprocessor.to_input(resized)))
    rebuilt = codec.decode(chunks, learned_model.geometry(size))
    expected = ServerHalf(network)(rebuilt, size, (pixels.shape[0], pixels.shape[1]))
    assert_same(found.detections, Detections.from_instances(expected))
    assert 53 < found.bytes - sum(len(chunk.payload) for chunk in chunks) <= 53 + 5 * len(chunks)


def test_publishing_one_codec_leaves_the_others_measurements(
    detector_model: DetectorModel, learned_model: DetectorModel
) -> None:
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


@pytest.mark.parametrize("size", ["network", "0.5"])
def test_an_anchor_row_is_the_detector_on_what_arrives(
    measurer: Measurer, picture: Picture, detect, preprocessor, size: str
) -> None:
    row = next(r for r in anchor_rows([size]) if r.setting == f"jpeg:quality=60,subsampling=4:2:0,size={size}")
    (found,) = measurer.measure(picture, [row])
    original = read_picture(picture.path)
    network_size = preprocessor.network_size(original.shape[:2])
    anchor = Anchor("jpeg", 60, "4:2:0", size)
    data = anchor.encode(anchor.shrink(original, network_size))
    assert found.bytes == len(data)
    assert_same(found.detections, detect(original, resized=receive(data, network_size)))


def test_all_levels_as_floats_lose_nothing(measurer: Measurer, picture: Picture, detector_model: DetectorModel) -> None:
    rows = [original_row([picture]), *codec_rows(["raw:precision=fp32"], detector_model)]
    unsplit, split = measurer.measure(picture, rows)
    assert_same(split.detections, unsplit.detections)
    ((_, geometry),) = geometries(detector_model, [picture])
    floats = geometry.raw_bytes(["p2", "p3", "p4", "p5"])
    assert floats < split.bytes < floats + 128  # the packet's header


def test_bytes_are_those_of_packets(measurer: Measurer, picture: Picture, detector_model: DetectorModel) -> None:
    settings = [f"interpolate:levels=p3+p5,precision=int{bits},ranges=picture" for bits in (8, 4, 2)]
    found = measurer.measure(picture, codec_rows(settings, detector_model))
    ((_, geometry),) = geometries(detector_model, [picture])
    for measurement, bits in zip(found, (8, 4, 2), strict=True):
        assert 0.3 * bits / 8 < measurement.bytes / geometry.elements(["p3", "p5"]) < 1.1 * bits / 8


def test_split_rows_read_the_cached_features_and_need_no_picture_then(
    measurer: Measurer, features: Path, picture: Picture, detector_model: DetectorModel, tmp_path: Path
) -> None:
    rows = codec_rows(["raw:precision=fp16", "interpolate:precision=fp16"], detector_model)
    before = measurer.measure(picture, rows)
    ((_, geometry),) = geometries(detector_model, [picture])
    assert FeatureCache(features, "fp32").has(picture.id, geometry)
    blank = tmp_path / "blank.jpg"
    height, width = read_picture(picture.path).shape[:2]
    Image.new("RGB", (width, height)).save(blank)
    after = measurer.measure(Picture(picture.id, blank), rows)
    for first, second in zip(before, after, strict=True):
        assert first.bytes == second.bytes
        assert_same(second.detections, first.detections)


def test_a_rebuilt_pyramid_goes_to_the_rpn_or_to_all(
    measurer: Measurer, picture: Picture, network: GeneralizedRCNN, preprocessor: Preprocessor
) -> None:
    how = Degrade.of(("p2", "p3"), 8.0)
    measured = measurer.measure(picture, [Row(key=s, how=how, scope=s) for s in ("rpn", "full")])
    original = read_picture(picture.path)
    resized = preprocessor.resize(original)
    true = measurer.features(picture)
    ((_, geometry),) = geometries(measurer.model, [picture])
    sent, degraded = how(true, geometry)
    server, sizes = ServerHalf(network), (resized.shape[:2], original.shape[:2])
    expected = [server(degraded, *sizes, roi_features=true), server(degraded, *sizes)]
    for found, instances in zip(measured, expected, strict=True):
        assert found.bytes == sent
        assert_same(found.detections, Detections.from_instances(instances))
    rpn, full = (found.detections.scores for found in measured)
    assert rpn.shape != full.shape or (rpn != full).any()


def test_a_file_that_is_no_picture_is_named(measurer: Measurer, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        measurer.measure(Picture(1, path), [original_row([Picture(1, path)])])


def test_codec_rows_are_told_apart_by_settings_and_model(detector_model: DetectorModel) -> None:
    texts = ["raw:precision=fp16", "raw:coder=store,precision=fp16,levels=p2+p3+p4+p5", "raw:precision=fp32"]
    rows = codec_rows(texts, detector_model)  # the first two are one
    assert [row.setting for row in rows] == [
        "raw:levels=p2+p3+p4+p5,precision=fp16,coder=store",
        "raw:levels=p2+p3+p4+p5,precision=fp32,coder=store",
    ]
    assert rows[0].key_levels == ("p2", "p3", "p4", "p5")
    assert rows[0].key.partition("@")[0] == rows[0].setting
    assert anchor_rows(["network"])[0].key == "jpeg:quality=30,subsampling=4:2:0,size=network"
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
    row: RateRow = original_row([Picture(id, Path(name)) for id, name in enumerate(names)])
    assert (row.family, row.size, row.key_levels) == (family, "original", None)
