from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.split import KEY_SETS


@pytest.fixture
def images(tmp_path: Path, photo: np.ndarray) -> Path:
    """Two small crops of a photograph."""
    for name, crop in (("a", photo[:160, :200]), ("b", photo[100:300, 100:260])):
        Image.fromarray(crop).save(tmp_path / f"{name}.png")
    return tmp_path


def test_the_split_detector_is_the_detector_and_every_key_set_is_timed(images: Path) -> None:
    result = CliRunner().invoke(app, ["split", "--images", str(images), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    difference = report["difference"]
    assert difference["pictures"] == 2
    assert difference["boxes"] > 0
    assert difference["counts_and_classes_equal"]
    assert difference["score"] <= 1e-4
    assert difference["box_pixels"] <= 0.01
    assert [tuple(time["key_levels"]) for time in report["edge_times"]] == list(KEY_SETS)
    assert all(time["edge_ms"] > 0 and time["ratio"] > 0 for time in report["edge_times"])


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["split", "--images", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
