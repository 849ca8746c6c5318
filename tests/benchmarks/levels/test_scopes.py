from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from keyfpn.benchmarks.engine.codecs import CodecWay
from keyfpn.benchmarks.engine.detector import Detector
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.engine.measure import measure_view
from keyfpn.benchmarks.engine.view import View
from keyfpn.benchmarks.levels.rebuild import Degrade
from keyfpn.benchmarks.levels.scopes import SCOPES, in_scope
from keyfpn.detector.coco import CocoData
from keyfpn.detector.model import Model
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import Detections
from tests.benchmarks.compare import assert_same


def test_a_rebuilt_pyramid_goes_to_the_rpn_or_to_all(
    quick_detector: Detector, quick_model: Model, data: CocoData, tmp_path: Path
) -> None:
    view = View(quick_detector, FeatureCache(tmp_path, "fp32"), data.pictures[0])
    how = Degrade.of(("p2", "p3"), 8.0)
    measured = measure_view(view, [in_scope(how, scope) for scope in SCOPES])
    degraded = how.degrade(view.features, view.geometry)
    network = quick_model.build()
    server, sizes = ServerHalf(network), (view.network_size, view.image_size)
    full = server(degraded, *sizes)

    def with_the_truth(heads: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        images, _, *others = arguments
        return (images, view.features, *others)

    network.roi_heads.register_forward_pre_hook(with_the_truth)
    rpn = server(degraded, *sizes)
    for found, instances in zip(measured, (rpn, full), strict=True):
        assert found.bytes == 4 * how.elements(view.geometry)
        assert_same(found.detections, Detections.from_instances(instances))
    rpn_scores, full_scores = (found.detections.scores for found in measured)
    assert rpn_scores.shape != full_scores.shape or (rpn_scores != full_scores).any()


def test_every_way_has_a_key_of_its_own_in_each_scope(detector_model: Model) -> None:
    codec = CodecWay.of("interpolate:levels=p3+p5,precision=fp32", detector_model)
    for way in (Degrade.parse("p6=4"), codec):
        assert [in_scope(way, scope).key for scope in SCOPES] == [f"rpn:{way.key}", way.key]
    assert in_scope(codec, "rpn").reads_features  # the true pyramid, for the ROI heads
