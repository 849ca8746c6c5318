from __future__ import annotations

import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.training.codecs.detector_view import DetectorView, Observation
from keyfpn.training.codecs.distortion import distortion, feature_error
from keyfpn.training.codecs.recipe import DistortionWeights


@pytest.fixture(scope="module")
def view(network: GeneralizedRCNN, detector_model: Model) -> DetectorView:
    return DetectorView(network, detector_model.pyramid, "fp32")


@pytest.fixture(scope="module")
def truth(view: DetectorView, val_pictures: list) -> Observation:
    crops = [torch.from_numpy(picture[:224, :224].copy()).permute(2, 0, 1) for picture in val_pictures[:2]]
    torch.manual_seed(0)
    return view.observe(torch.stack(crops))


def pyramid_of(truth: Observation) -> dict[str, Tensor]:
    return {level: truth.features[level] for level in ("p2", "p3", "p4", "p5")}


def test_the_true_pyramid_has_none(view: DetectorView, truth: Observation) -> None:
    parts = distortion(view, truth, pyramid_of(truth), DistortionWeights())
    assert set(parts) == {"feature", "rpn", "box"}
    for part in parts.values():
        assert float(part) == pytest.approx(0, abs=1e-5)


def test_every_part_grows_with_the_damage_and_has_a_gradient(view: DetectorView, truth: Observation) -> None:
    noise = {
        level: x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        for level, x in pyramid_of(truth).items()
    }
    found = []
    for amount in (0.1, 0.5, 1.0):
        damaged = {level: x + amount * noise[level] for level, x in pyramid_of(truth).items()}
        for feature in damaged.values():
            feature.requires_grad_()
        parts = distortion(view, truth, damaged, DistortionWeights())
        found.append({name: float(part.detach()) for name, part in parts.items()})
        torch.stack(list(parts.values())).sum().backward()
        for level in ("p2", "p3", "p4", "p5"):
            gradient = damaged[level].grad
            assert gradient is not None
            assert gradient.isfinite().all()
            assert gradient.abs().sum() > 0
    for name in found[0]:
        assert found[0][name] < found[1][name] < found[2][name]


def test_weights(view: DetectorView, truth: Observation) -> None:
    blank = {level: torch.zeros_like(x) for level, x in pyramid_of(truth).items()}
    once = distortion(view, truth, blank, DistortionWeights(1, 1, 1))
    weighed = distortion(view, truth, blank, DistortionWeights(0, 2, 3))
    assert set(weighed) == {"rpn", "box"}
    assert float(weighed["rpn"]) == pytest.approx(2 * float(once["rpn"]), rel=1e-5)
    assert float(weighed["box"]) == pytest.approx(3 * float(once["box"]), rel=1e-5)
    assert set(distortion(view, truth, blank, DistortionWeights(1, 0, 0))) == {"feature"}


def test_the_feature_error_of_every_level_counts_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = {
        f"p{k}": scale * torch.randn(1, 4, 2 ** (7 - k), 2 ** (7 - k), generator=generator)
        for k, scale in zip(range(2, 6), (1, 10, 0.1, 3), strict=True)
    }
    for level in truth:
        damaged = truth | {level: truth[level] + truth[level].std()}
        assert float(feature_error(truth, damaged)) == pytest.approx(0.25, rel=0.05)
