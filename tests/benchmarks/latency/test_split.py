from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from keyfpn.benchmarks.cli import app
from keyfpn.benchmarks.latency.split import KEY_SETS
from keyfpn.detector.model import Model

CODECS = [
    "interpolate:levels=p3+p5,precision=int4,coder=ans,ranges=model",
    "network:levels=p3+p5,precision=int4,coder=ans,ranges=model",
    *(f"learned:quality={quality}" for quality in (1, 2, 3)),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    """Two small crops of a photograph."""
    folder = tmp_path_factory.mktemp("images")
    for name, crop in (("a", photo[:160, :200]), ("b", photo[100:300, 100:260])):
        Image.fromarray(crop).save(folder / f"{name}.png")
    return folder


def split(images: Path, model: Model, *options: str) -> Result:
    command = ["split", "--images", str(images), "--detector", str(model.folder), *options]
    return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.fixture(scope="module")
def report(images: Path, quick_learned_model: Model) -> dict[str, Any]:
    result = split(images, quick_learned_model, "--json")
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_split_detector_is_the_detector(report: dict[str, Any], quick_learned_model: Model) -> None:
    assert report["fingerprint"] == quick_learned_model.fingerprint.hex()
    difference = report["difference"]
    assert difference["pictures"] == 2
    assert difference["boxes"] > 0
    assert difference["counts_and_classes_equal"]
    assert difference["score"] <= 1e-4
    assert difference["box_pixels"] <= 0.01


def test_every_key_set_is_timed(report: dict[str, Any]) -> None:
    assert [tuple(time["key_levels"]) for time in report["edge_times"]] == list(KEY_SETS)
    assert all(time["edge_ms"] > 0 and time["ratio"] > 0 for time in report["edge_times"])


def test_codecs_are_timed_at_both_ends(report: dict[str, Any]) -> None:
    times = {time["settings"]: time for time in report["codec_times"]}
    assert list(times) == CODECS
    for settings, time in times.items():
        parts = ["edge_ms", "edge_ratio", "server_ms", "server_ratio"]
        assert all(time[part] > 0 for part in parts)
        assert (time["entropy_encode_ms"] is None) == (not settings.startswith("learned"))


def test_tables_have_the_comparison_every_key_set_and_every_codec(images: Path, quick_learned_model: Model) -> None:
    text = split(images, quick_learned_model).stdout
    assert re.match(r"2 pictures, \d+ boxes: counts and classes equal, scores within \S+, boxes within", text)
    assert all(re.search(rf"^ *{re.escape('+'.join(levels))} +\d+\.\d", text, re.MULTILINE) for levels in KEY_SETS)
    assert all(settings.split(",")[0] in text for settings in CODECS)


def test_a_folder_without_pictures_is_one_line(tmp_path: Path, quick_learned_model: Model) -> None:
    result = split(tmp_path, quick_learned_model)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
