from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from detectron2.modeling import GeneralizedRCNN
from PIL import Image

from keyfpn.benchmarks.engine.codecs import CodecWay
from keyfpn.benchmarks.engine.detector import Detector
from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.engine.measure import Source, geometries, measure, measure_view
from keyfpn.benchmarks.engine.pool import Pool, Task
from keyfpn.benchmarks.engine.view import View
from keyfpn.benchmarks.engine.way import OriginalFile
from keyfpn.detector.coco import CocoData, Picture
from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import Detections
from keyfpn.reconstruct.registry import codec_of, open_encoder
from tests.benchmarks.compare import assert_same

Detect = Callable[..., Detections]


@pytest.fixture(scope="module")
def picture(data: CocoData) -> Picture:
    return data.pictures[0]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, quick_model: Model) -> FeatureCache:
    return FeatureCache(tmp_path_factory.mktemp("features"), "fp32", quick_model.pyramid)


@pytest.fixture
def view(quick_detector: Detector, features: FeatureCache, picture: Picture) -> View:
    return View(quick_detector, features, picture)


def ways(texts: list[str], model: Model) -> list[CodecWay]:
    return [CodecWay.of(text, model) for text in texts]


def test_the_original_file_is_the_unsplit_detector_at_the_files_size(
    view: View, picture: Picture, detect: Detect
) -> None:
    (found,) = measure_view(view, [OriginalFile()])
    assert (found.row, found.picture, found.bytes) == ("original", picture.id, picture.path.stat().st_size)
    assert_same(found.detections, detect(read_picture(picture.path)))
    assert len(found.detections) > 3


def test_a_worker_measures_the_same_with_one_thread(
    worker: Pool, view: View, picture: Picture, quick_model: Model, tmp_path: Path
) -> None:
    two = [OriginalFile(), CodecWay.of("interpolate:precision=int4", quick_model)]
    source = Source(str(quick_model.folder), None, "fp32", tmp_path, quick_model.fingerprint)
    ((_, found),) = worker.run(measure, [Task("picture", (source, picture, two))])
    for theirs, ours in zip(found, measure_view(view, two), strict=True):
        assert (theirs.row, theirs.bytes) == (ours.row, ours.bytes)
        assert_same(theirs.detections, ours.detections)
    ((_, threads),) = worker.run(eval, [Task("threads", ("__import__('torch').get_num_threads()",))])
    assert threads == 1


def test_a_model_that_was_published_again_is_not_measured_as_the_old_one(
    quick_model: Model, picture: Picture, tmp_path: Path
) -> None:
    source = Source(str(quick_model.folder), None, "fp32", tmp_path, bytes(8))
    found = quick_model.fingerprint.hex()
    with pytest.raises(BenchmarkError, match=f"expected {bytes(8).hex()}, found {found}. It was published again"):
        measure(source, picture, [OriginalFile()])


def test_a_learned_codec_reads_below_the_pyramid(
    learned_model: Model, network: GeneralizedRCNN, picture: Picture, tmp_path: Path
) -> None:
    way = CodecWay.of("learned:quality=2", learned_model)
    assert not way.reads_features
    view = View(
        Detector(str(learned_model.folder), None, "fp32"),
        FeatureCache(tmp_path, "fp32", learned_model.pyramid),
        picture,
    )
    (found,) = measure_view(view, [way])
    assert not list(tmp_path.iterdir())
    encoder, preprocessor = open_encoder("learned:quality=2", learned_model), learned_model.preprocessor
    pixels = read_picture(picture.path)
    resized = preprocessor.resize(pixels)
    size = (resized.shape[0], resized.shape[1])
    features = EdgeHalf(network, encoder.reads)(preprocessor.to_input(resized))
    image_size = (pixels.shape[0], pixels.shape[1])
    arrays = encoder.codec.analysis(encoder).arrays(features)
    packet = encoder.packet(arrays, image_size=image_size, network_size=size)
    codec = codec_of(packet, learned_model)
    rebuilt = codec.rebuilder().rebuild([codec.decoder().unpack(packet)])
    (expected,) = ServerHalf(network)(rebuilt, [size], [image_size])
    assert_same(found.detections, to_detections(expected, learned_model.labels))
    chunks = packet.chunks
    assert 53 < found.bytes - sum(len(chunk.payload) for chunk in chunks) <= 53 + 5 * len(chunks)


def test_all_levels_as_floats_lose_nothing(view: View, quick_model: Model) -> None:
    unsplit, split = measure_view(view, [OriginalFile(), *ways(["raw:precision=fp32"], quick_model)])
    assert_same(split.detections, unsplit.detections)
    floats = view.geometry.raw_bytes(["p2", "p3", "p4", "p5"])
    assert floats < split.bytes < floats + 128  # the packet's header


def test_bytes_are_those_of_packets(view: View, quick_model: Model) -> None:
    settings = [f"interpolate:levels=p3+p5,precision=int{bits},ranges=picture" for bits in (8, 4, 2)]
    found = measure_view(view, ways(settings, quick_model))
    for measurement, bits in zip(found, (8, 4, 2), strict=True):
        assert 0.3 * bits / 8 < measurement.bytes / view.geometry.elements(["p3", "p5"]) < 1.1 * bits / 8


def test_codecs_read_the_cached_features_and_need_no_picture_then(
    view: View, features: FeatureCache, quick_model: Model, tmp_path: Path
) -> None:
    two = ways(["raw:precision=fp16", "interpolate:precision=fp16"], quick_model)
    assert all(way.reads_features for way in two)
    before = measure_view(view, two)
    assert features.has(view.picture.id, view.geometry)
    blank = tmp_path / "blank.jpg"
    height, width = read_picture(view.picture.path).shape[:2]
    Image.new("RGB", (width, height)).save(blank)
    after = measure_view(View(view.detector, features, Picture(view.picture.id, blank)), two)
    for first, second in zip(before, after, strict=True):
        assert first.bytes == second.bytes
        assert_same(second.detections, first.detections)


def test_geometries_are_those_of_the_pictures(view: View, picture: Picture, quick_model: Model) -> None:
    assert geometries(quick_model, [picture]) == [(picture.id, view.geometry)]


def test_a_file_that_is_no_picture_is_named(quick_detector: Detector, features: FeatureCache, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        measure_view(View(quick_detector, features, Picture(1, path)), [OriginalFile()])
