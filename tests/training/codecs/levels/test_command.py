"""`keyfpn-train fit`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from keyfpn.detector import BUNDLED
from keyfpn.detector.model import CONFIG_FILE, MODELS, WEIGHTS_FILE, Model, open_model
from keyfpn.reconstruct.key_levels.parameters import MIXES_FILE, RANGES_FILE, Parameters
from keyfpn.reconstruct.registry import decodable_codecs, open_codec, open_encoder
from keyfpn.training.cli import app

P4 = ("p4", "p3", "p5")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures of noise."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


def fit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["fit", *map(str, arguments)], catch_exceptions=False)


def bare() -> list[object]:
    """The bundled detector as a config with weights."""
    return ["--detector", MODELS / BUNDLED / CONFIG_FILE, "--weights", MODELS / BUNDLED / WEIGHTS_FILE]


@pytest.fixture
def published(fitted: Path, tmp_path: Path) -> Path:
    """A copy of :func:`fitted` that a test may change, under the same name."""
    result = fit("--detector", fitted, "--mix", "p5=0.5,0.5", "--out", tmp_path / "mine")
    assert result.exit_code == 0
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def fitted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `keyfpn-train fit` makes of a bare config with weights."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    result = fit("--images", images, "--out", folder, "--pictures", 2, *bare())
    assert result.exit_code == 0
    assert open_model(str(folder)).fingerprint.hex() in result.stdout
    assert "p4 = " in result.stdout
    return folder


def test_the_folder_is_a_model_whose_codecs_use_what_was_fitted(fitted: Path, detector_model: Model) -> None:
    model = open_model(str(fitted))
    assert model.fingerprint != detector_model.fingerprint
    assert model.labels == detector_model.labels
    assert P4 in Parameters.of(model).mixes
    assert str(open_encoder("interpolate:precision=int4", model).settings).endswith("ranges=model")


def test_a_fit_in_place_keeps_the_detector(published: Path, images: Path) -> None:
    before = open_model(str(published))
    result = fit("--images", images, "--out", published, "--detector", published, "--pictures", 1)
    assert result.exit_code == 0
    after = open_model(str(published))
    assert after.fingerprint != before.fingerprint
    assert after.manifest.hashes[WEIGHTS_FILE] == before.manifest.hashes[WEIGHTS_FILE]


def test_a_mix_takes_the_place_of_the_fitted_one_and_all_else_stays(learned_model: Model, tmp_path: Path) -> None:
    result = fit("--detector", learned_model.folder, "--mix", "p4=0.2501,0.7499", "--out", tmp_path / "mixed")
    assert result.exit_code == 0, result.output
    assert "p4 = 0.2501 * up(p5) + 0.7499 * down(p3)\n" in result.stdout
    mixed = open_model(str(tmp_path / "mixed"))
    assert f"The model is in {tmp_path / 'mixed'}, fingerprint {mixed.fingerprint.hex()}.\n" in result.stdout
    before, after = Parameters.of(learned_model), Parameters.of(mixed)
    assert after.mixes == {**before.mixes, P4: (0.2501, 0.7499)} != before.mixes
    hashes = learned_model.manifest.hashes
    assert set(mixed.manifest.hashes) == set(hashes)
    assert [name for name, found in mixed.manifest.hashes.items() if found != hashes[name]] == [MIXES_FILE]
    names = [[codec.name for codec in decodable_codecs(model)] for model in (mixed, learned_model)]
    assert names[0] == names[1]
    rule = open_codec("interpolate", mixed).provenance(("p3", "p5"))["p4"]
    assert rule == "0.25 * up(p5) + 0.75 * down(p3)"


def test_a_mix_may_be_published_in_place_and_again(published: Path) -> None:
    ranges = open_model(str(published)).manifest.hashes[RANGES_FILE]
    for numbers in ((0.25, 0.5), (0.5, 0.25)):
        mix = f"p4={numbers[0]},{numbers[1]}"
        assert fit("--detector", published, "--mix", mix, "--mix", "p3=1,0", "--out", published).exit_code == 0
        assert open_model(str(published)).manifest.hashes[RANGES_FILE] == ranges
        mixes = json.loads((published / MIXES_FILE).read_text())
        assert mixes["p4 from p3 and p5"] == list(numbers)
        assert mixes["p3 from p2 and p4"] == [1, 0]


def test_a_mix_beside_pictures_is_the_mix_and_the_rest_is_fitted(images: Path, fitted: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    assert fit("--images", images, "--out", out, "--pictures", 2, "--mix", "p4=1,-1", *bare()).exit_code == 0
    found, expected = Parameters.of(open_model(str(out))), Parameters.of(open_model(str(fitted)))
    assert found.mixes == {**expected.mixes, P4: (1.0, -1.0)}
    assert found.ranges.keys() == expected.ranges.keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--images", "nowhere"], "nowhere"),
        (["--detector", "no-such-model"], "no-such-model"),
        (["--weights", "none.pkl"], "none.pkl"),
        (["--device", "gpu"], "device 'gpu'"),
        (["--mix", "p7=1,2"], "--mix p7=1,2: expected a level between two others (p3, p4, p5), found p7"),
        (["--mix", "p4=1,x"], "--mix p4=1,x: expected finite numbers, found x"),
        (["--mix", "p4=1,inf"], "--mix p4=1,inf: expected finite numbers, found inf"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    images: Path, tmp_path: Path, changed: list[str], message: str
) -> None:
    out = tmp_path / "model"
    result = fit("--images", images, "--out", out, *changed)
    assert result.exit_code == 2
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not out.exists()


def test_nothing_to_fit_to_is_one_line_and_exit_code_2(unfitted_model: Model, tmp_path: Path) -> None:
    nothing = fit("--out", tmp_path / "model")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert nothing.stderr == "error: keyfpn-train fit: expected --images to fit to, or --mix, found neither\n"
    never = fit("--detector", unfitted_model.folder, "--mix", "p4=1,2", "--out", tmp_path / "model")
    assert (never.exit_code, never.stdout, never.stderr.count("\n")) == (2, "", 1)
    assert "expected ranges and mixes that were fitted before, found none. Give --images as well" in never.stderr
    assert not (tmp_path / "model").exists()
