from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keyfpn.benchmarks.cli import app
from keyfpn.benchmarks.latency.split import KEY_SETS
from keyfpn.detector.model import DetectorModel


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


def test_codecs_are_timed_at_both_ends(images: Path, learned_model: DetectorModel) -> None:
    command = ["split", "--images", str(images), "--detector", str(learned_model.folder)]
    result = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    times = {time["settings"]: time for time in json.loads(result.stdout)["codec_times"]}
    assert list(times) == [
        "interpolate:levels=p3+p5,precision=int4,coder=ans,ranges=model",
        "network:levels=p3+p5,precision=int4,coder=ans,ranges=model",
        *(f"learned:quality={quality}" for quality in (1, 2, 3)),
    ]
    for settings, time in times.items():
        parts = ["edge_ms", "edge_ratio", "server_ms", "server_ratio"]
        assert all(time[part] > 0 for part in parts)
        assert (time["entropy_encode_ms"] is None) == (not settings.startswith("learned"))
    table = CliRunner().invoke(app, command, catch_exceptions=False).stdout
    assert all(settings.split(",")[0] in table for settings in times)


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["split", "--images", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
