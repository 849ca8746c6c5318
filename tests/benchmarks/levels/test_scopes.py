from __future__ import annotations

from pathlib import Path

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList

from keyfpn.benchmarks.engine.codecs import CodecWay
from keyfpn.benchmarks.engine.detector import Detector
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.engine.measure import measure_view
from keyfpn.benchmarks.engine.view import View
from keyfpn.benchmarks.levels.rebuild import Degrade
from keyfpn.benchmarks.levels.scopes import SCOPES, in_scope
from keyfpn.detector.coco import CocoData
from keyfpn.detector.model import Model
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from tests.benchmarks.compare import assert_same


def test_a_rebuilt_pyramid_goes_to_the_rpn_or_to_all(
    quick_detector: Detector, quick_model: Model, data: CocoData, tmp_path: Path
) -> None:
    view = View(quick_detector, FeatureCache(tmp_path, "fp32", quick_model.pyramid), data.pictures[0])
    how = Degrade.of(("p2", "p3"), 8.0)
    measured = measure_view(view, [in_scope(how, scope) for scope in SCOPES])
    degraded = how.degrade(view.features, view.geometry)
    network = build_network(quick_model)
    (full,) = ServerHalf(network)(degraded, [view.network_size], [view.image_size])
    images = ImageList(torch.empty(1, 0), [view.network_size])
    with torch.inference_mode():
        proposals, _ = network.proposal_generator(images, degraded)
        (found,), _ = network.roi_heads(images, view.features, proposals)
        rpn = detector_postprocess(found, *view.image_size)
    for found, instances in zip(measured, (rpn, full), strict=True):
        assert found.bytes == 4 * how.elements(view.geometry)
        assert_same(found.detections, to_detections(instances, quick_model.labels))
    rpn_scores, full_scores = (found.detections.scores for found in measured)
    assert rpn_scores.shape != full_scores.shape or (rpn_scores != full_scores).any()


def test_every_way_has_a_key_of_its_own_in_each_scope(detector_model: Model) -> None:
    codec = CodecWay.of("interpolate:levels=p3+p5,precision=fp32", detector_model)
    for way in (Degrade.parse("p6=4"), codec):
        assert [in_scope(way, scope).key for scope in SCOPES] == [f"rpn:{way.key}", way.key]
    assert in_scope(codec, "rpn").reads_features  # the true pyramid, for the ROI heads
