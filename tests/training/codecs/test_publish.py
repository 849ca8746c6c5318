from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import CONFIG_FILE, WEIGHTS_FILE, DetectorModel, open_detector
from keyfpn.training.codecs.publish import published_with_new


@pytest.fixture
def model(unfitted_model: DetectorModel, tmp_path: Path) -> DetectorModel:
    """A copy that a test may change."""
    assert unfitted_model.folder is not None
    shutil.copytree(unfitted_model.folder, tmp_path / "model")
    return open_detector(str(tmp_path / "model"))


def publish(model: DetectorModel, folder: Path, text: str) -> DetectorModel:
    with published_with_new(model, folder, "new") as partial:
        assert not (partial / "new").exists()
        (partial / "new").mkdir()
        (partial / "new" / text).write_text(text)
    return open_detector(str(folder))


def test_all_other_files_stay_as_they_are(model: DetectorModel, tmp_path: Path) -> None:
    first = publish(model, tmp_path / "copy", "one")
    assert first.manifest.name == "copy"
    assert first.manifest.hashes.items() > model.manifest.hashes.items()
    second = publish(first, tmp_path / "copy", "two")
    assert set(second.manifest.hashes) == {*model.manifest.hashes, "new/two"}
    assert (tmp_path / "copy" / WEIGHTS_FILE).read_bytes() == model.weights.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "copy"}


def test_a_folder_that_changed_since_it_was_opened_is_refused(model: DetectorModel, tmp_path: Path) -> None:
    """A codec trained for one model is not published with the files of another."""
    assert model.folder is not None
    with (model.folder / CONFIG_FILE).open("a") as file:
        file.write("# changed\n")
    Manifest.of_folder(model.folder).write(model.folder)
    message = f"expected the model of fingerprint {model.fingerprint.hex()}, .* found one of"
    with pytest.raises(ModelError, match=message):
        publish(model, tmp_path / "copy", "one")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
