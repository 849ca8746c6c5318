"""`keyfpn-server decode`, and what the command line says when something is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet
from keyfpn.server.pipeline import Server

if TYPE_CHECKING:
    from tests.commands import Outcome

Command = Callable[..., "Outcome"]


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
    pipeline: Server,
    detector_model: Model,
) -> None:
    results, drawn = folder / "results.json", folder / "drawn"
    done = run_command(
        *("decode", folder, folder / "missing.kfpn"),
        *("--coco", results, "--pictures", folder / "pictures", "--out", drawn),
    )
    assert done.returncode == 1
    damaged, missing = done.stderr.splitlines()
    assert damaged.startswith(f"error: {folder / 'damaged.kfpn'}: CRC-32C of a packet of ")
    assert missing == f"error: {folder / 'missing.kfpn'}: No such file or directory"
    assert "2 packets decoded, 2 failed" in done.stdout

    expected = []
    for frame_id, name in ((1, "one"), (2, "two")):
        packet = Packet.parse((folder / f"{name}.kfpn").read_bytes())
        found = pipeline.detect(packet)
        expected += found.to_coco(frame_id)
        with Image.open(drawn / f"{name}.jpg") as picture:
            assert picture.size == (160, 128)
    written = json.loads(results.read_text())
    assert [(r["image_id"], r["category_id"]) for r in written] == [(r["image_id"], r["category_id"]) for r in expected]
    np.testing.assert_allclose([r["bbox"] for r in written], [r["bbox"] for r in expected], atol=1e-2)
    _loads_as_coco(results, detector_model)
    assert sorted(path.name for path in drawn.iterdir()) == ["one.jpg", "two.jpg"]  # and no temporary file


def test_json(folder: Path, command: Command, pipeline: Server, detector_model: Model) -> None:
    done = command("decode", folder / "one.kfpn", folder / "damaged.kfpn", "--json")
    assert done.code == 1
    one, damaged = done.records
    data = (folder / "one.kfpn").read_bytes()
    found = pipeline.detect(Packet.parse(data))
    assert one["packet"] == str(folder / "one.kfpn")
    assert (one["frame_id"], one["stream_id"], one["bytes"]) == ("1", "0000000000000001", len(data))
    assert one["image_size"] == [128, 160]
    assert [d["class"] for d in one["detections"]] == [detector_model.labels.names[label] for label in found.classes]
    np.testing.assert_allclose([d["box"] for d in one["detections"]], found.boxes, atol=1e-2)
    assert damaged["error"]["kind"] == "ChecksumMismatch"
    assert "CRC-32C" in damaged["error"]["message"]


def test_all_good(folder: Path, command: Command) -> None:
    done = command("decode", folder / "one.kfpn", folder / "two.kfpn", "--precision", "bf16")
    assert (done.code, done.err) == (0, "")
    assert "2 packets decoded, 0 failed" in done.out


def test_one_frame_id_twice_in_a_coco_file(folder: Path, command: Command) -> None:
    copy = folder / "copy.kfpn"
    copy.write_bytes((folder / "one.kfpn").read_bytes())
    results = folder / "results.json"
    done = command("decode", folder / "one.kfpn", copy, "--coco", results)
    assert done.code == 1
    expected = f"{results}, frame id: expected one frame of each id, found 1 of {folder / 'one.kfpn'} and {copy}"
    assert done.err == f"error: {copy}: {expected}\n"
    assert {result["image_id"] for result in json.loads(results.read_text())} == {1}
    both = command("decode", folder / "one.kfpn", copy)
    assert both.code == 0  # without a COCO file nothing is mixed up


def test_pictures_that_do_not_fit(folder: Path, command: Command) -> None:
    Image.new("RGB", (10, 20)).save(folder / "pictures" / "one.png")
    (folder / "pictures" / "two.png").unlink()
    packets = [folder / f"{name}.kfpn" for name in ("one", "two")]
    done = command("decode", *packets, "--pictures", folder / "pictures", "--out", folder / "drawn")
    assert done.code == 1
    one, two = done.err.splitlines()
    assert "expected 128 x 160 pixels, as the packet says, found 20 x 10" in one
    assert f"{folder / 'pictures'}: expected the packet's picture two (" in two


def test_a_file_beyond_the_limit_is_not_read_whole(folder: Path, command: Command) -> None:
    huge = folder / "huge.kfpn"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of nothing
    done = command("decode", huge)
    assert done.code == 1
    assert done.err.startswith(f"error: {huge}: packet: expected at most ")
    assert str(1 << 40) in done.err


def test_an_earlier_runs_results_outlive_a_run_that_cannot_begin(folder: Path, command: Command) -> None:
    results = folder / "results.json"
    results.write_text("results of an earlier run")
    (folder / "drawn").write_text("a file")
    options = ["--coco", results, "--pictures", folder / "pictures", "--out", folder / "drawn"]
    assert command("decode", folder / "one.kfpn", *options).code == 1
    assert results.read_text() == "results of an earlier run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "{folder}", "--detector", "none-such"], "error: model 'none-such': expected a model folder, "),
        (
            ["decode", "{folder}", "--detector", "COCO-Detection/faster_rcnn_R_50_FPN_3x"],
            "error: model 'COCO-Detection/faster_rcnn_R_50_FPN_3x': expected a model folder, ",
        ),
        (
            ["decode", "{folder}", "--out", "{folder}/drawn"],
            "error: --out and --pictures: expected both or neither, found --out alone. Boxes are drawn into",
        ),
        (
            ["decode", "{folder}", "--pictures", "{folder}/pictures"],
            "error: --out and --pictures: expected both or neither, found --pictures alone. ",
        ),
        (
            ["decode", "{folder}", "--coco", "{folder}/none/c.json"],
            "error: {folder}/none/c.json: expected a file in a folder that exists, found no folder {folder}/none",
        ),
        (
            ["decode", "{folder}", "--coco", "{folder}/pictures"],
            "error: {folder}/pictures: expected a file in a folder that exists, found a folder of that name",
        ),
        (
            ["decode", "{folder}/pictures"],
            "error: {folder}/pictures: expected packets (*.kfpn) in this folder, found none",
        ),
        (
            ["decode", "{folder}", "--device", "none-such"],
            "error: device 'none-such': expected one that torch can compute on, found ",
        ),
        (["serve", "--port", "0", "--detector", "none-such"], "error: model 'none-such': expected a model folder, "),
        (["decode"], "error: Missing argument 'PACKETS'"),
        (
            ["decode", "{folder}", "--precision", "fp64"],
            "error: Invalid value for '--precision': ",
        ),
        (
            ["decode", "{folder}", "--detector", "a", "--detector", "b", "--weights", "{folder}/one.kfpn"],
            "error: {folder}/one.kfpn: expected one config for these weights, found a, b. Publish the models instead.",
        ),
    ],
)
def test_wrong_usage_exits_with_2(folder: Path, command: Command, arguments: list[str], message: str) -> None:
    done = command(*(argument.format(folder=folder) for argument in arguments))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(message.format(folder=folder))
    assert len(done.err.splitlines()) == 1
    if "--precision" in arguments:
        assert "'fp64' is not one of 'fp32', 'bf16'" in done.err


def test_a_file_name_with_an_escape_sequence_does_not_reach_the_terminal(folder: Path, command: Command) -> None:
    hostile = folder / "hostile"
    hostile.mkdir()
    for name in ("one", "damaged"):
        (folder / f"{name}.kfpn").rename(hostile / f"{name}\x1b[2J\rb.kfpn")
    done = command("decode", hostile, hostile / "missing\x1b]0;title\x07.kfpn")
    assert done.code == 1
    for text in (done.out, done.err):
        assert not {character for character in text if not character.isprintable()} - {"\n"}
    assert r"one\x1b[2J\rb.kfpn" in done.out
    assert r"damaged\x1b[2J b.kfpn: CRC-32C" in done.err
    assert r"missing\x1b]0;title\x07.kfpn: No such file" in done.err
    machine = command("decode", hostile, "--json")
    assert machine.out.isascii()
    assert {record["packet"] for record in machine.records} == {
        str(hostile / f"{name}\x1b[2J\rb.kfpn") for name in ("one", "damaged")
    }


@pytest.mark.parametrize("name", ["serve", "decode"])
def test_help_has_an_example_and_the_exit_codes(command: Command, name: str) -> None:
    done = command(name, "--help")
    assert done.code == 0
    assert f"Example: keyfpn-server {name}" in done.out
    assert "Exit codes:" in done.out


def _loads_as_coco(results: Path, model: Model) -> None:
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": category} for category in model.labels.category_ids],
        "annotations": [],
    }
    truth.createIndex()
    assert len(truth.loadRes(str(results)).anns) > 0
