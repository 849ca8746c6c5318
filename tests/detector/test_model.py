import shutil
from pathlib import Path

import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torchvision.models import mobilenet_v2

from keyfpn.detector import BUNDLED
from keyfpn.detector.torch.backbone import MobileNetV2
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import MODELS, Model, open_model
from keyfpn.detector.torch.publish import publish_detector

CONFIG = MODELS / BUNDLED / "config.yaml"
WEIGHTS = MODELS / BUNDLED / "detector.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(MODELS / BUNDLED, tmp_path / BUNDLED))


def test_the_bundled_manifest_is_of_the_bundled_files(detector_model: Model) -> None:
    assert Manifest.of_folder(MODELS / BUNDLED) == detector_model.manifest
    assert (MODELS / BUNDLED / "manifest.json").read_bytes() == detector_model.manifest.to_json()


def test_the_bundled_weights_are_half_precision_and_all_there(network: GeneralizedRCNN) -> None:
    assert WEIGHTS.stat().st_size < 14e6
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert not network.training


def test_a_model_opens_by_name_and_by_folder(folder: Path, detector_model: Model) -> None:
    assert open_model(str(folder)).fingerprint == open_model(BUNDLED).fingerprint == detector_model.fingerprint


def test_classes_are_cocos(detector_model: Model) -> None:
    assert detector_model.labels.names[0] == "person"
    assert detector_model.labels.category_ids[0] == 1
    assert (detector_model.labels.names[-1], detector_model.labels.category_ids[-1]) == ("toothbrush", 90)


def test_a_part_of_the_files_is_enough_and_keeps_the_fingerprint(folder: Path, detector_model: Model) -> None:
    (folder / "mixes.json").unlink()
    assert open_model(str(folder)).fingerprint == detector_model.fingerprint


def test_a_changed_file_is_refused(folder: Path) -> None:
    with (folder / "detector.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(ModelError, match=r"detector\.safetensors: expected SHA-256"):
        open_model(str(folder))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 1}', '{"format": 2, "name": "x", "sha256": {}}', '{"sha256": 3}']
)
def test_a_malformed_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match="manifest"):
        open_model(str(folder))


def test_the_model_card_does_not_change_the_fingerprint(folder: Path, detector_model: Model) -> None:
    (folder / "README.md").write_text("other words")
    assert Manifest.of_folder(folder).fingerprint == detector_model.fingerprint


def test_unknown_models_say_what_there_is() -> None:
    with pytest.raises(ModelError, match=BUNDLED):
        open_model("no-such-model")
    with pytest.raises(ModelError, match="neither a YAML file nor a name in detectron2's model zoo"):
        open_model("COCO-Detection/no_such", WEIGHTS)
    with pytest.raises(ModelError, match="no such weights file"):
        open_model(str(CONFIG), Path("none.pth"))


def test_a_bare_config_with_weights_is_the_same_detector(noise_input: torch.Tensor, network: GeneralizedRCNN) -> None:
    bare = open_model(str(CONFIG), WEIGHTS)
    with torch.inference_mode():
        expected = network([{"image": noise_input}])[0]["instances"]
        found = bare.build()([{"image": noise_input}])[0]["instances"]
    assert torch.equal(expected.pred_boxes.tensor, found.pred_boxes.tensor)
    assert bare.fingerprint == open_model(str(CONFIG), WEIGHTS).fingerprint


def test_a_published_copy_is_the_same_detector(tmp_path: Path, noise_input: torch.Tensor) -> None:
    bare = open_model(str(CONFIG), WEIGHTS)
    publish_detector(bare, tmp_path / "mine")
    Manifest.of_folder(tmp_path / "mine").write(tmp_path / "mine")
    with torch.inference_mode():
        expected, found = (
            model.build()([{"image": noise_input}])[0]["instances"].pred_boxes.tensor
            for model in (bare, open_model(str(tmp_path / "mine")))
        )
    assert torch.equal(expected, found)


@pytest.mark.parametrize(
    "zoo_name", ["COCO-Detection/faster_rcnn_R_50_FPN_3x", "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml"]
)
def test_zoo_configs_are_found_and_their_weights_checked(zoo_name: str) -> None:
    model = open_model(zoo_name, WEIGHTS)
    assert model.cfg.MODEL.FPN.OUT_CHANNELS == 256
    assert model.geometry((800, 1067)).raw_bytes() == 4 * 256 * (200 * 272 + 100 * 136 + 50 * 68 + 25 * 34 + 13 * 17)
    with pytest.raises(WeightsError, match="do not fit"):
        model.build()


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match=r"expected the config of a GeneralizedRCNN on an FPN .* found a RetinaNet"):
        open_model("COCO-Detection/retinanet_R_50_FPN_1x", WEIGHTS).build()
    with pytest.raises(ModelError, match="expected the config of a GeneralizedRCNN on an FPN"):
        open_model("COCO-Detection/faster_rcnn_R_50_C4_1x", WEIGHTS).build()


@pytest.mark.parametrize(
    "text",
    [
        "MODEL: !!python/object/apply:os.system ['touch {trap}']",
        "_BASE_: base.yaml",  # whose text is the first one
        "MODEL: {{NO_SUCH_KEY: 1}}",
        "MODEL: 3",
        "VERSION: [",
        "just words",
        "- 1",
    ],
)
def test_a_config_runs_nothing_and_errors_are_clear(tmp_path: Path, text: str) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "base.yaml").write_text(f"MODEL: !!python/object/apply:os.system ['touch {trap}']")
    path = tmp_path / "config.yaml"
    path.write_text(text.format(trap=trap))
    with pytest.raises(ModelError, match=r"config\.yaml: detectron2 refuses this config"):
        open_model(str(path), WEIGHTS)
    assert not trap.exists()


def test_the_backbone_is_torchvisions(noise_input: torch.Tensor) -> None:
    backbone = MobileNetV2(freeze_at=2)
    reference = mobilenet_v2(weights=None).features.eval()
    state = {name.split(".", 2)[2]: value for name, value in backbone.state_dict().items()}
    reference.load_state_dict({**state, **{k: v for k, v in reference.state_dict().items() if "num_batches" in k}})
    x = noise_input[None, :, :64, :96].float() / 255
    with torch.inference_mode():
        outputs = backbone(x)
        torch.testing.assert_close(outputs["res5"], reference(x))
    for name, shape in backbone.output_shape().items():
        assert outputs[name].shape == (1, shape.channels, 64 // shape.stride, 96 // shape.stride)
    frozen = [all(not p.requires_grad for p in stage.parameters()) for stage in backbone.stages]
    assert frozen == [True, True, False, False]
