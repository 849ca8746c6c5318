from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.model import MODELS, Model, open_model
from keyfpn.detector.torch.config import read_config
from keyfpn.detector.torch.network import build_network, random_network

CONFIG = MODELS / BUNDLED / "config.yaml"
WEIGHTS = MODELS / BUNDLED / "detector.safetensors"


def test_the_bundled_weights_are_half_precision_and_all_there(network: GeneralizedRCNN) -> None:
    assert WEIGHTS.stat().st_size < 14e6
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_bare_config_with_weights_is_the_same_detector(noise_input: np.ndarray, network: GeneralizedRCNN) -> None:
    bare = open_model(str(CONFIG), WEIGHTS)
    picture = torch.from_numpy(noise_input)
    with torch.inference_mode():
        expected = network([{"image": picture}])[0]["instances"]
        found = build_network(bare)([{"image": picture}])[0]["instances"]
    assert torch.equal(expected.pred_boxes.tensor, found.pred_boxes.tensor)
    assert bare.fingerprint == open_model(str(CONFIG), WEIGHTS).fingerprint


@pytest.mark.parametrize(
    "zoo_name", ["COCO-Detection/faster_rcnn_R_50_FPN_3x", "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml"]
)
def test_weights_of_a_zoo_config_are_checked(zoo_name: str) -> None:
    with pytest.raises(WeightsError, match=r"detector\.safetensors: expected weights that fit the config, found "):
        build_network(open_model(zoo_name, WEIGHTS))


def test_other_architectures_are_refused() -> None:
    expected = "detector: expected a GeneralizedRCNN on an FPN whose p6 is a max-pool of p5, found "
    with pytest.raises(ModelError, match=f"{expected}RetinaNet on a FPN with LastLevelP6P7"):
        build_network(open_model("COCO-Detection/retinanet_R_50_FPN_1x", WEIGHTS))
    with pytest.raises(ModelError, match=f"{expected}GeneralizedRCNN on a ResNet with NoneType"):
        random_network(read_config("COCO-Detection/faster_rcnn_R_50_C4_1x"))


def test_a_device_that_is_not_there_is_refused(detector_model: Model) -> None:
    with pytest.raises(ModelError, match="device 'abacus': expected one that torch can compute on"):
        build_network(detector_model, "abacus")


def test_weights_that_are_gone_are_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"0")
    model = open_model(CONFIG, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"w\.safetensors: expected a weights file, found none of that name"):
        build_network(model)
