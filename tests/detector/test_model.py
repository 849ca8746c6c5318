import os
import shutil
from pathlib import Path

import pytest

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import MODELS, Model, open_model
from keyfpn.detector.prepare import Preprocessor
from keyfpn.detector.pyramid import Pyramid

CONFIG = MODELS / BUNDLED / "config.yaml"
WEIGHTS = MODELS / BUNDLED / "detector.safetensors"
SMALL_CONFIG = "MODEL: {FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 8}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(MODELS / BUNDLED, tmp_path / BUNDLED))


def small_model(folder: Path, config: str = SMALL_CONFIG, **files: str) -> Path:
    """Publish a model whose files are text: enough for all but a network."""
    folder.mkdir(exist_ok=True)
    for name, text in {"config.yaml": config, **files}.items():
        (folder / name).write_text(text)
    Manifest.of_folder(folder).write(folder)
    return folder


def test_a_model_opens_by_name_and_by_folder(folder: Path, detector_model: Model) -> None:
    assert open_model(str(folder)).fingerprint == open_model(BUNDLED).fingerprint == detector_model.fingerprint
    assert open_model().fingerprint == open_model(folder).fingerprint
    assert open_model(folder).name == BUNDLED


def test_a_part_of_the_files_is_enough_and_keeps_the_fingerprint(folder: Path, detector_model: Model) -> None:
    (folder / "mixes.json").unlink()
    model = open_model(str(folder))
    assert model.fingerprint == detector_model.fingerprint
    assert model.published_with("mixes.json", "ranges.safetensors")
    assert model.has("ranges.safetensors")
    assert not model.has("mixes.json", "ranges.safetensors")
    assert not model.published_with("ranges.safetensors", "nothing.json")


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


def test_what_a_file_of_a_model_holds(tmp_path: Path) -> None:
    model = open_model(small_model(tmp_path / "mine", mixes="{}"))
    assert model.read("mixes") == b"{}"
    assert model.has("mixes")


def test_a_file_that_was_changed_after_the_model_was_opened_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "mine", mixes="{}")
    model = open_model(folder)
    (folder / "mixes").write_text("[]")
    with pytest.raises(ModelError, match=r"mine/mixes: expected SHA-256 \w{16}…, found \w{16}…\. The file is not the"):
        model.read("mixes")


def test_a_file_that_the_model_was_not_published_with_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "mine", mixes="{}")
    (folder / "later").write_text("{}")
    model = open_model(folder)
    assert not model.has("later")
    for name in ("later", "manifest.json", "README.md", "../mine/mixes"):
        with pytest.raises(ModelError, match=f"mine: expected a model with {name}, found none in its manifest"):
            model.read(name)


def test_a_file_that_this_copy_of_the_model_lacks_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "mine", mixes="{}")
    model = open_model(folder)
    (folder / "mixes").unlink()
    message = r"mine/mixes: expected a file of the model, found No such file or directory\. Copy the whole model here\."
    with pytest.raises(ModelError, match=message):
        model.read("mixes")
    (folder / "mixes").mkdir()
    with pytest.raises(ModelError, match=r"mine/mixes: expected a file of the model, found Is a directory"):
        model.read("mixes")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "mine", mixes="{}")
    model = open_model(folder)
    (folder / "mixes").chmod(0)
    with pytest.raises(ModelError, match="expected a file of the model, found Permission denied"):
        model.read("mixes")


def test_a_folder_that_was_published_again_is_another_model(tmp_path: Path) -> None:
    old = open_model(small_model(tmp_path / "mine", mixes="{}"))
    new = open_model(small_model(tmp_path / "mine", mixes="[]"))
    assert old.fingerprint != new.fingerprint
    assert new.read("mixes") == b"[]"
    with pytest.raises(ModelError, match="expected SHA-256"):
        old.read("mixes")


def test_a_bare_config_has_no_published_files() -> None:
    model = open_model(CONFIG, WEIGHTS)
    assert model.folder is None
    assert not model.has("mixes.json")
    assert not model.published_with("mixes.json")
    with pytest.raises(ModelError, match=r"config: expected a published model with mixes\.json, found a bare config"):
        model.read("mixes.json")


def test_a_bare_config_with_weights_has_a_fingerprint_of_both(tmp_path: Path, detector_model: Model) -> None:
    model = open_model(CONFIG, WEIGHTS)
    assert model.fingerprint == open_model(str(CONFIG), str(WEIGHTS)).fingerprint != detector_model.fingerprint
    assert (model.pyramid, model.preprocessor) == (detector_model.pyramid, detector_model.preprocessor)
    assert model.labels == detector_model.labels
    (tmp_path / "config.yaml").write_text(CONFIG.read_text().replace("MAX_SIZE_TEST: 640", "MAX_SIZE_TEST: 641"))
    (tmp_path / "other.safetensors").write_bytes(WEIGHTS.read_bytes() + b"\0")
    assert open_model(tmp_path / "config.yaml", WEIGHTS).fingerprint != model.fingerprint
    assert open_model(CONFIG, tmp_path / "other.safetensors").fingerprint != model.fingerprint


def test_unknown_models_say_what_there_is() -> None:
    with pytest.raises(ModelError, match=f"model 'no-such-model': expected .*a bundled model .*{BUNDLED}"):
        open_model("no-such-model")
    message = (
        "config 'COCO-Detection/no_such': expected a YAML file, or a name in detectron2's model zoo, found neither"
    )
    with pytest.raises(ModelError, match=message):
        open_model("COCO-Detection/no_such", WEIGHTS)
    with pytest.raises(ModelError, match=r"none\.pth: expected a weights file, found none of that name"):
        open_model(str(CONFIG), Path("none.pth"))


@pytest.mark.parametrize(
    "zoo_name", ["COCO-Detection/faster_rcnn_R_50_FPN_3x", "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml"]
)
def test_zoo_configs_are_found(zoo_name: str) -> None:
    model = open_model(zoo_name, WEIGHTS)
    assert model.pyramid == Pyramid(channels=256, independent=("p2", "p3", "p4", "p5"))
    assert model.preprocessor == Preprocessor(800, 1333, "BGR")
    assert model.geometry((800, 1067)).raw_bytes() == 4 * 256 * (200 * 272 + 100 * 136 + 50 * 68 + 25 * 34 + 13 * 17)
    assert model.labels.names[:2] == ("person", "bicycle")


def test_a_detector_without_an_fpn_is_refused() -> None:
    with pytest.raises(ModelError, match=r"detector: expected one with an FPN, found a config whose MODEL\.FPN\.IN_F"):
        open_model("COCO-Detection/faster_rcnn_R_50_C4_1x", WEIGHTS)


def test_what_a_published_config_leaves_out_is_detectron2s(tmp_path: Path) -> None:
    model = open_model(small_model(tmp_path / "mine", "MODEL: {FPN: {IN_FEATURES: [res3, res4, res5]}}"))
    assert model.preprocessor == Preprocessor(800, 1333, "BGR")
    assert model.pyramid == Pyramid(channels=256, independent=("p3", "p4", "p5"))
    assert open_model(small_model(tmp_path / "mine")).pyramid.channels == 8


@pytest.mark.parametrize(
    "text",
    [
        "MODEL: !!python/object/apply:os.system ['touch {trap}']",
        "MODEL: 3",
        "MODEL: {{FPN: 3}}",
        "MODEL: {{FPN: {{IN_FEATURES: [stage2]}}}}",
        "INPUT: {{MIN_SIZE_TEST: [800]}}\n" + SMALL_CONFIG.replace("{", "{{").replace("}", "}}"),
        "INPUT:\n" + SMALL_CONFIG.replace("{", "{{").replace("}", "}}"),
        "VERSION: [",
        "just words",
        "- 1",
        "",
        "\x01",
    ],
)
def test_a_published_config_runs_nothing_and_errors_are_clear(tmp_path: Path, text: str) -> None:
    trap = tmp_path / "trap"
    folder = small_model(tmp_path / "mine", text.format(trap=trap))
    with pytest.raises(ModelError, match=r"mine/config\.yaml: expected a detectron2 config in YAML, found ") as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_published_model_without_a_config_is_refused(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "mine")
    (folder / "config.yaml").unlink()
    with pytest.raises(ModelError, match=r"config\.yaml: expected a file of the model, found No such file"):
        open_model(folder)
    Manifest.of_folder(folder).write(folder)
    with pytest.raises(ModelError, match=r"mine: expected a model with config\.yaml, found none in its manifest"):
        open_model(folder)
