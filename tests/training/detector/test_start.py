from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v2

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.model import MODELS, WEIGHTS_FILE
from keyfpn.detector.torch.config import read_config
from keyfpn.training.detector.start import initial_network, read_training_config


def test_a_backbone_file_fills_the_backbone_alone(tiny_cfg: CfgNode, backbone_file: Path) -> None:
    fresh, initial = initial_network(tiny_cfg, seed=0), initial_network(tiny_cfg, seed=0, init_backbone=backbone_file)
    bundled = load_file(MODELS / BUNDLED / WEIGHTS_FILE)
    for name, value in initial.state_dict().items():
        expected = bundled[name].float() if "bottom_up" in name else fresh.state_dict()[name]
        assert torch.equal(value, expected), name


def test_torchvisions_own_weights_are_a_backbone_file(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    whole = mobilenet_v2(weights=None)  # with a classifier and BatchNorm counts
    torch.save(whole.state_dict(), tmp_path / "mobilenet_v2.pth")
    network = initial_network(tiny_cfg, seed=0, init_backbone=tmp_path / "mobilenet_v2.pth")
    last = network.backbone.bottom_up.stages[3][-1][0].weight
    assert torch.equal(last, whole.features[18][0].weight)


def test_a_backbone_file_of_another_network_is_an_error(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    save_file({"features.0.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(
        WeightsError, match=r"other\.safetensors: expected the arrays of torchvision's mobilenet_v2.*, found others"
    ):
        initial_network(tiny_cfg, seed=0, init_backbone=tmp_path / "other.safetensors")


def test_a_backbone_file_needs_the_backbone(backbone_file: Path) -> None:
    cfg = read_config("COCO-Detection/faster_rcnn_R_50_FPN_1x", "cpu")
    with pytest.raises(ModelError, match=r"^config: expected a MobileNetV2 backbone, found ResNet\. .*backbone"):
        initial_network(cfg, seed=0, init_backbone=backbone_file)


def test_another_kind_of_detector_is_an_error() -> None:
    with pytest.raises(
        ModelError, match=r"expected a GeneralizedRCNN on an FPN .* found RetinaNet on a FPN with LastLevelP6P7"
    ):
        initial_network(read_config("COCO-Detection/retinanet_R_50_FPN_1x", "cpu"), seed=0)


def test_a_config_is_a_file_a_bundled_model_or_a_zoo_name(tiny_config: Path) -> None:
    assert read_training_config(None, "cpu") == read_training_config(BUNDLED, "cpu")
    assert read_training_config(str(tiny_config), "cpu").MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert read_training_config("COCO-Detection/faster_rcnn_R_50_FPN_1x", "cpu").MODEL.RESNETS.DEPTH == 50
    with pytest.raises(ModelError, match=r"config 'no such': expected a YAML file, .* found neither"):
        read_training_config("no such", "cpu")


@pytest.mark.parametrize(
    "device",
    [
        "gpu",
        pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs no CUDA")),
    ],
)
def test_a_device_that_is_not_there_is_an_error(device: str) -> None:
    with pytest.raises(ModelError, match=f"device '{device}'"):
        read_training_config(None, device)
