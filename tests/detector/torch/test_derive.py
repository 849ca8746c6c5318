import pytest
import torch
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.derive import with_derived

PYRAMID = Pyramid(channels=4, independent=("p2", "p3", "p4", "p5"))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 5), (12, 16), (25, 34)])
def test_p6_is_detectron2s_max_pool_of_p5(size: tuple[int, int]) -> None:
    p5 = torch.randn(2, 4, *size, generator=torch.Generator().manual_seed(0))
    (expected,) = LastLevelMaxPool()(p5)
    found = with_derived({"p5": p5}, PYRAMID)
    assert list(found) == ["p5", "p6"]
    assert found["p5"] is p5
    assert torch.equal(found["p6"], expected)
    height, width = size
    geometry = PYRAMID.geometry((32 * height, 32 * width))
    assert found["p6"].shape == (2, *geometry.level_shape("p6"))


def test_a_level_that_is_there_stays() -> None:
    features = {"p5": torch.ones(1, 4, 4, 4), "p6": torch.zeros(1, 4, 2, 2)}
    assert with_derived(features, PYRAMID)["p6"] is features["p6"]


def test_a_level_whose_source_is_missing_is_not_made() -> None:
    assert list(with_derived({"p4": torch.ones(1, 4, 4, 4)}, PYRAMID)) == ["p4"]


def test_the_pyramid_says_what_derives_from_what() -> None:
    pyramid = Pyramid(channels=4, independent=("p2", "p3", "p4"), derived={"p5": "p4"})
    p4 = torch.randn(1, 4, 5, 6)
    assert torch.equal(with_derived({"p4": p4}, pyramid)["p5"], p4[:, :, ::2, ::2])
