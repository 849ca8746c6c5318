import shutil
from pathlib import Path

import pytest

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import MODELS, Model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published folder with a few small files."""
    for name in ("config.yaml", "codec/a.json", "README.md", ".hidden"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    Manifest.of_folder(tmp_path / "mine").write(tmp_path / "mine")
    return tmp_path / "mine"


def test_the_bundled_manifest_is_of_the_bundled_files(detector_model: Model) -> None:
    assert Manifest.of_folder(MODELS / BUNDLED) == detector_model.manifest
    assert (MODELS / BUNDLED / "manifest.json").read_bytes() == detector_model.manifest.to_json()


def test_a_manifest_is_of_all_files_but_itself_the_card_and_hidden_ones(folder: Path) -> None:
    assert set(Manifest.read(folder).hashes) == {"config.yaml", "codec/a.json"}


def test_the_fingerprint_follows_from_names_and_contents(folder: Path) -> None:
    manifest = Manifest.read(folder)
    assert len(manifest.fingerprint) == 8
    assert Manifest(manifest.name, dict(reversed(manifest.hashes.items()))).fingerprint == manifest.fingerprint
    assert Manifest("other", manifest.hashes).fingerprint != manifest.fingerprint
    (folder / "codec/a.json").write_text("changed")
    assert Manifest.of_folder(folder).fingerprint != manifest.fingerprint


def test_the_model_card_does_not_change_the_fingerprint(folder: Path) -> None:
    before = Manifest.of_folder(folder).fingerprint
    (folder / "README.md").write_text("other words")
    assert Manifest.of_folder(folder).fingerprint == before


def test_a_part_of_the_files_is_enough(folder: Path) -> None:
    before = Manifest.read(folder)
    (folder / "codec/a.json").unlink()
    assert Manifest.read(folder) == before


def test_a_file_that_was_changed_is_refused(folder: Path) -> None:
    (folder / "codec/a.json").write_text("codec/b.json")
    message = r"a\.json: expected SHA-256 \w{16}…, found \w{16}…\. The file is not the one that was published: restore"
    with pytest.raises(ModelError, match=message):
        Manifest.read(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1}',
        '{"format": 2, "name": "x", "sha256": {}}',
        '{"sha256": 3}',
        '{"format": 1, "name": "x", "sha256": []}',
        "\udcff",
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ModelError, match=r"manifest\.json(: expected a manifest, found|, format: expected 1, found)"):
        Manifest.read(folder)


def test_a_folder_without_a_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a published model with a manifest\.json, found none"):
        Manifest.read(tmp_path)


def test_a_copy_of_the_folder_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert Manifest.read(tmp_path / "copy").fingerprint == Manifest.read(folder).fingerprint
