from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import CONFIG_FILE, WEIGHTS_FILE, Model, open_model
from keyfpn.training.codecs.publish import published_with_new


@pytest.fixture
def model(unfitted_model: Model, tmp_path: Path) -> Model:
    """A copy that a test may change."""
    assert unfitted_model.folder is not None
    shutil.copytree(unfitted_model.folder, tmp_path / "model")
    return open_model(tmp_path / "model")


def publish(model: Model, folder: Path, text: str) -> Model:
    with published_with_new(model, folder, "new") as partial:
        assert not (partial / "new").exists()
        (partial / "new").mkdir()
        (partial / "new" / text).write_text(text)
    return open_model(folder)


def test_all_other_files_stay_as_they_are(model: Model, tmp_path: Path) -> None:
    first = publish(model, tmp_path / "copy", "one")
    assert first.manifest.name == "copy"
    assert first.manifest.hashes.items() > model.manifest.hashes.items()
    second = publish(first, tmp_path / "copy", "two")
    assert set(second.manifest.hashes) == {*model.manifest.hashes, "new/two"}
    assert (tmp_path / "copy" / WEIGHTS_FILE).read_bytes() == model.weights.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "copy"}


def test_a_folder_that_changed_since_it_was_opened_is_refused(model: Model, tmp_path: Path) -> None:
    """A codec trained for one model is not published with the files of another."""
    assert model.folder is not None
    with (model.folder / CONFIG_FILE).open("a") as file:
        file.write("# changed\n")
    Manifest.of_folder(model.folder).write(model.folder)
    message = f"expected the model of fingerprint {model.fingerprint.hex()}, .* found others in place of {CONFIG_FILE}"
    with pytest.raises(ModelError, match=message):
        publish(model, tmp_path / "copy", "one")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
