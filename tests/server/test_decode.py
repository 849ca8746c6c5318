"""`keyfpn-server decode`, and what the command line says when something is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet
from keyfpn.server.cli import app
from keyfpn.server.pipeline import DetectionPipeline

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, make_packet: Callable[..., Packet], crops: list[np.ndarray]) -> Path:
    """Two good packets and a damaged one, with their pictures."""
    (tmp_path / "pictures").mkdir()
    for index, name in ((1, "one"), (2, "two")):
        packet = make_packet(crops[index], frame_id=index)
        (tmp_path / f"{name}.kfpn").write_bytes(packet.serialize())
        Image.fromarray(crops[index]).save(tmp_path / "pictures" / f"{name}.png")
    damaged = bytearray((tmp_path / "one.kfpn").read_bytes())
    damaged[100] ^= 0x10
    (tmp_path / "damaged.kfpn").write_bytes(damaged)
    return tmp_path


def test_good_and_bad_packets(
    folder: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
    pipeline: DetectionPipeline,
    detector_model: Model,
) -> None:
    results, drawn = folder / "results.json", folder / "drawn"
    done = run_command(
        *("decode", folder, folder / "missing.kfpn"),
        *("--coco", results, "--pictures", folder / "pictures", "--out", drawn),
    )
    assert done.returncode == 1
    damaged, missing = done.stderr.splitlines()
    assert damaged.startswith(f"error: {folder / 'damaged.kfpn'}: CRC-32C")
    assert missing == f"error: {folder / 'missing.kfpn'}: No such file or directory"
    assert "2 packets decoded, 2 failed" in done.stdout

    expected = []
    for frame_id, name in ((1, "one"), (2, "two")):
        packet = Packet.parse((folder / f"{name}.kfpn").read_bytes())
        found = pipeline.detect(packet)
        expected += found.to_coco(frame_id, detector_model.labels.category_ids)
        with Image.open(drawn / f"{name}.jpg") as picture:
            assert picture.size == (160, 128)
    written = json.loads(results.read_text())
    assert [(r["image_id"], r["category_id"]) for r in written] == [(r["image_id"], r["category_id"]) for r in expected]
    np.testing.assert_allclose([r["bbox"] for r in written], [r["bbox"] for r in expected], atol=1e-2)
    _loads_as_coco(results, detector_model)
    assert sorted(path.name for path in drawn.iterdir()) == ["one.jpg", "two.jpg"]  # and no temporary file


def test_json(folder: Path, pipeline: DetectionPipeline, detector_model: Model) -> None:
    done = runner.invoke(app, ["decode", str(folder / "one.kfpn"), str(folder / "damaged.kfpn"), "--json"])
    assert done.exit_code == 1
    one, damaged = map(json.loads, done.stdout.splitlines())
    data = (folder / "one.kfpn").read_bytes()
    found = pipeline.detect(Packet.parse(data))
    assert one["packet"] == str(folder / "one.kfpn")
    assert (one["frame_id"], one["stream_id"], one["bytes"]) == (1, "0000000000000001", len(data))
    assert one["image_size"] == [128, 160]
    assert [d["class"] for d in one["detections"]] == [detector_model.labels.names[label] for label in found.classes]
    np.testing.assert_allclose([d["box"] for d in one["detections"]], found.boxes, atol=1e-2)
    assert damaged["error"]["kind"] == "ChecksumMismatch"
    assert "CRC-32C" in damaged["error"]["message"]


def test_all_good(folder: Path) -> None:
    done = runner.invoke(app, ["decode", str(folder / "one.kfpn"), str(folder / "two.kfpn"), "--precision", "bf16"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "2 packets decoded, 0 failed" in done.stdout


def test_one_frame_id_twice_in_a_coco_file(folder: Path) -> None:
    copy = folder / "copy.kfpn"
    copy.write_bytes((folder / "one.kfpn").read_bytes())
    results = folder / "results.json"
    done = runner.invoke(app, ["decode", str(folder / "one.kfpn"), str(copy), "--coco", str(results)])
    assert done.exit_code == 1
    assert (
        f"{copy}: expected one packet per frame id in a COCO file, found 1 in {folder / 'one.kfpn'} too" in done.stderr
    )
    both = runner.invoke(app, ["decode", str(folder / "one.kfpn"), str(copy)])
    assert both.exit_code == 0  # without a COCO file nothing is mixed up


def test_pictures_that_do_not_fit(folder: Path) -> None:
    Image.new("RGB", (10, 20)).save(folder / "pictures" / "one.png")
    (folder / "pictures" / "two.png").unlink()
    packets = [str(folder / f"{name}.kfpn") for name in ("one", "two")]
    options = ["--pictures", str(folder / "pictures"), "--out", str(folder / "drawn")]
    done = runner.invoke(app, ["decode", *packets, *options])
    assert done.exit_code == 1
    one, two = done.stderr.splitlines()
    assert "expected 128 x 160 pixels, as the packet says, found 20 x 10" in one
    assert "expected its picture two" in two


def test_a_file_beyond_the_limit_is_not_read_whole(folder: Path) -> None:
    huge = folder / "huge.kfpn"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    done = runner.invoke(app, ["decode", str(huge)])
    assert done.exit_code == 1
    assert "packet: expected at most" in done.stderr
    assert str(1 << 40) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "{folder}", "--detector", "none-such"], "error: no model 'none-such'"),
        (["decode", "{folder}", "--detector", "COCO-Detection/faster_rcnn_R_50_FPN_3x"], "error: no model"),
        (["decode", "{folder}", "--out", "{folder}/drawn"], "error: --out and --pictures go together"),
        (["decode", "{folder}", "--coco", "{folder}/none/c.json"], "error: {folder}/none/c.json: there is no folder"),
        (["decode", "{folder}/pictures"], "error: {folder}/pictures: expected packets (*.kfpn) in this folder"),
        (["decode", "{folder}", "--device", "none-such"], "error: device 'none-such'"),
        (["serve", "--port", "0", "--detector", "none-such"], "error: no model 'none-such'"),
        (["decode"], "Missing argument"),
        (["decode", "{folder}", "--precision", "fp64"], "'fp64' is not one of"),
    ],
)
def test_wrong_usage_exits_with_2(folder: Path, arguments: list[str], message: str) -> None:
    done = runner.invoke(app, [argument.format(folder=folder) for argument in arguments])
    assert done.exit_code == 2
    assert message.format(folder=folder) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "decode"])
def test_help_has_an_example_and_the_exit_codes(command: str) -> None:
    done = runner.invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: keyfpn-server {command}" in done.stdout
    assert "Exit codes:" in done.stdout


def _loads_as_coco(results: Path, model: Model) -> None:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": category} for category in model.labels.category_ids],
        "annotations": [],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(results)).anns) > 0
