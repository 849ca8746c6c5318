from pathlib import Path

import pytest
import yaml
from detectron2.config import get_cfg

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import MODELS, Model, open_model
from keyfpn.detector.torch.config import labels_of_config, portable_config, read_config

CONFIG = MODELS / BUNDLED / "config.yaml"
WEIGHTS = MODELS / BUNDLED / "detector.safetensors"
ZOO = "COCO-Detection/faster_rcnn_R_50_FPN_3x"


def test_a_zoo_name_with_and_without_its_suffix_is_one_config() -> None:
    cfg = read_config(ZOO)
    assert cfg == read_config(f"{ZOO}.yaml")
    assert cfg.MODEL.WEIGHTS == ""  # no download
    assert cfg.MODEL.DEVICE == "cpu"
    assert cfg.is_frozen()


def test_a_portable_config_says_everything_and_nothing_of_the_machine(tmp_path: Path) -> None:
    cfg = read_config(ZOO).clone()
    cfg.defrost()
    cfg.OUTPUT_DIR, cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = str(tmp_path), "cuda:3", "weights.pth"
    text = portable_config(cfg)
    assert str(tmp_path) not in text
    assert text == portable_config(read_config(ZOO))
    assert str(tmp_path) == cfg.OUTPUT_DIR  # the caller's stays as it is
    (tmp_path / "config.yaml").write_text(text)
    again = portable_config(read_config(str(tmp_path / "config.yaml")))
    assert yaml.safe_load(again) == yaml.safe_load(text)


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
    with pytest.raises(ModelError, match=r"config\.yaml: expected a config that detectron2 takes, found ") as caught:
        open_model(str(path), WEIGHTS)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


@pytest.mark.parametrize("device", ["abacus", "cpu:x", "cuda:99", ""])
def test_a_device_that_torch_cannot_compute_on_is_refused(device: str) -> None:
    with pytest.raises(
        ModelError, match=f"device '{device}': expected one that torch can compute on, found "
    ) as caught:
        read_config(str(CONFIG), device)
    assert "\n" not in str(caught.value)


def test_labels_of_a_data_set_that_detectron2_knows() -> None:
    labels = labels_of_config(read_config(ZOO))
    assert len(labels) == 80
    assert (labels.names[0], labels.category_ids[0]) == ("person", 1)
    assert (labels.names[-1], labels.category_ids[-1]) == ("toothbrush", 90)


@pytest.mark.parametrize(("data_set", "count"), [("mine", 3), ("coco_2017_val", 3)])
def test_labels_of_another_data_set_are_numbers(data_set: str, count: int) -> None:
    cfg = get_cfg()
    cfg.DATASETS.TEST, cfg.MODEL.ROI_HEADS.NUM_CLASSES = (data_set,), count
    labels = labels_of_config(cfg)
    assert labels.names == ("class 0", "class 1", "class 2")
    assert labels.category_ids == (1, 2, 3)


def test_cocos_classes_are_known_without_detectron2(detector_model: Model) -> None:
    assert detector_model.labels == labels_of_config(read_config(detector_model.config))
    assert len(detector_model.labels) == 80
