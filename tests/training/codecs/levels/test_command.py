from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keyfpn.detector import BUNDLED
from keyfpn.detector.model import CONFIG_FILE, MODELS, WEIGHTS_FILE, DetectorModel, open_detector
from keyfpn.reconstruct.codec import build_codec
from keyfpn.reconstruct.parameters import Parameters
from keyfpn.training.cli import app


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures of noise."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def published(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `keyfpn-train fit` makes of a bare config with weights."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    bare = ["--detector", str(MODELS / BUNDLED / CONFIG_FILE), "--weights", str(MODELS / BUNDLED / WEIGHTS_FILE)]
    arguments = ["fit", "--images", str(images), "--out", str(folder), "--pictures", "2", *bare]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert open_detector(str(folder)).fingerprint.hex() in result.stdout
    assert "p4 = " in result.stdout
    return folder


def test_the_folder_is_a_model_whose_codecs_use_what_was_fitted(published: Path, detector_model: DetectorModel) -> None:
    model = open_detector(str(published))
    assert model.fingerprint != detector_model.fingerprint
    assert model.classes == detector_model.classes
    assert ("p4", "p3", "p5") in Parameters.of(model).mixes
    assert str(build_codec("interpolate:precision=int4", model).settings).endswith("ranges=model")


def test_a_fit_in_place_keeps_the_detector(published: Path, images: Path) -> None:
    before = open_detector(str(published))
    arguments = ["fit", "--images", str(images), "--out", str(published), "--detector", str(published)]
    assert CliRunner().invoke(app, [*arguments, "--pictures", "1"], catch_exceptions=False).exit_code == 0
    after = open_detector(str(published))
    assert after.fingerprint != before.fingerprint
    assert after.manifest.hashes[WEIGHTS_FILE] == before.manifest.hashes[WEIGHTS_FILE]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--images", "nowhere"), "nowhere: no such file or folder"),
        (("--detector", "no-such-model"), "no model 'no-such-model'"),
        (("--weights", "none.pkl"), "none.pkl: no such weights file"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    images: Path, tmp_path: Path, changed: tuple[str, str], message: str
) -> None:
    out = tmp_path / "model"
    arguments = ["fit", "--images", str(images), "--out", str(out), *changed]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not out.exists()
