"""`keyfpn-edge encode` and `inspect`, and what the command line says when something is wrong."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet

if TYPE_CHECKING:
    from tests.commands import Outcome

Edge = Callable[..., "Outcome"]
LEVELS = ("p2", "p3", "p4", "p5", "p6")


@pytest.fixture(scope="module")
def packets(pictures: Path, start_edge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the real command makes of the pictures, with a log of the run."""
    folder = tmp_path_factory.mktemp("packets")
    process = start_edge("encode", pictures, "--out", folder, "--codec", "interpolate:levels=p3+p5,precision=int8")
    peak = 0
    while process.poll() is None:  # its output is small enough for the pipes
        with contextlib.suppress(psutil.Error):
            peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        time.sleep(0.01)
    out, err = process.communicate()
    (folder / "log").write_text(json.dumps({"code": process.returncode, "out": out, "err": err, "peak": peak}))
    return folder


def test_encode_writes_a_packet_per_picture(packets: Path, detector_model: Model) -> None:
    log = json.loads((packets / "log").read_text())
    assert (log["code"], log["err"]) == (0, "")
    read = {path.stem: Packet.parse(path.read_bytes()) for path in packets.glob("*.kfpn")}
    assert {name: packet.frame_id for name, packet in read.items()} == {"000000000042": 42, "7": 7, "portrait": 1}
    for name, packet in read.items():
        assert packet.fingerprint == detector_model.fingerprint
        assert packet.key_levels == ("p3", "p5")
        assert f"{name}.kfpn" in log["out"]
    assert len({packet.stream_id for packet in read.values()}) == 1
    assert "p6: exact from p5 (max-pool, kernel 1, stride 2)" in log["out"]


def test_encode_stays_below_a_gigabyte(packets: Path) -> None:
    assert 1e8 < json.loads((packets / "log").read_text())["peak"] < 1e9


def test_encode_for_machines(edge: Edge, pictures: Path, tmp_path: Path) -> None:
    outcome = edge("encode", pictures / "7.jpg", "--out", tmp_path, "--json", "--codec", "raw:levels=p5,precision=fp32")
    assert outcome.code == 0
    frame, summary = outcome.records
    assert frame["bytes"] == Path(frame["file"]).stat().st_size == summary["mean_bytes"]
    assert frame["compression_ratio"] == summary["compression_ratio"] == pytest.approx(341 / 4, rel=0.05)
    assert set(frame["edge_ms"]) == {"prepare", "network", "code"}
    assert (summary["frames"], summary["failed"]) == (1, 0)
    assert summary["codec"] == "raw:levels=p5,precision=fp32,coder=store"
    assert summary["levels"]["p5"] == "sent"


def test_a_corrupt_picture_among_good_ones(edge: Edge, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes((pictures / "7.jpg").read_bytes()[:2000])
    inputs = [pictures / "7.jpg", tmp_path / "bad.jpg", tmp_path / "missing.jpg", pictures / "portrait.png"]
    outcome = edge("encode", *inputs, "--out", tmp_path / "packets")
    assert outcome.code == 1
    assert sorted(path.name for path in (tmp_path / "packets").iterdir()) == ["7.kfpn", "portrait.kfpn"]
    first, second = sorted(outcome.err.splitlines())
    assert first.startswith(f"error: {tmp_path / 'bad.jpg'}: expected a picture, found a corrupt one: ")
    assert second == f"error: {tmp_path / 'missing.jpg'}: expected a file or folder, found nothing of that name"
    assert "2 failed" in outcome.out


def test_two_pictures_of_one_name(edge: Edge, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "7.png").write_bytes((pictures / "portrait.png").read_bytes())
    outcome = edge("encode", pictures / "7.jpg", tmp_path / "7.png", "--out", tmp_path / "packets")
    assert outcome.code == 1
    taken = "expected a name for each frame of the run, found one that another input has too"
    assert outcome.err.startswith(f"error: {tmp_path / 'packets' / '7.kfpn'}: {taken}")
    assert len(outcome.err.splitlines()) == 1
    assert Packet.parse((tmp_path / "packets" / "7.kfpn").read_bytes()).image_size == (140, 432)


def test_inspect_shows_every_level(edge: Edge, packets: Path, detector_model: Model) -> None:
    path = packets / "000000000042.kfpn"
    shown, parsed = edge("inspect", path), edge("inspect", path, "--json").records[0]
    assert shown.code == 0
    for text in (detector_model.fingerprint.hex(), "512 x 512", "exact from p5 (max-pool, kernel 1, stride 2)", "ans"):
        assert text in shown.out
    levels = {level["level"]: level for level in parsed["levels"]}
    assert tuple(levels) == LEVELS
    sent = [level for level in parsed["levels"] if level["source"] == "sent"]
    assert [level["level"] for level in sent] == ["p3", "p5"]
    assert levels["p3"]["elements"] == 128 * 48 * 48
    for level in sent:
        size = level["header_bytes"] + level["payload_bytes"]
        assert level["bits_per_element"] == pytest.approx(8 * size / level["elements"])
        assert level["compression_ratio"] == pytest.approx(32 / level["bits_per_element"])
    total = parsed["header_bytes"] + sum(level["header_bytes"] + level["payload_bytes"] for level in sent)
    assert total == parsed["bytes"] == path.stat().st_size
    assert parsed["frame_id"] == "42"


def test_inspect_without_the_packets_model(edge: Edge, packets: Path, tmp_path: Path) -> None:
    packet = Packet.parse((packets / "7.kfpn").read_bytes())
    (tmp_path / "foreign.kfpn").write_bytes(replace(packet, fingerprint=bytes(8)).serialize())
    outcome = edge("inspect", tmp_path / "foreign.kfpn")
    assert outcome.code == 0
    assert "made with another model" in outcome.out
    parsed = edge("inspect", tmp_path / "foreign.kfpn", "--json").records[0]
    assert (parsed["model"], parsed["compression_ratio"]) == (None, None)
    assert [(level["level"], level["elements"]) for level in parsed["levels"]] == [("p3", None), ("p5", None)]
    assert parsed["levels"][0]["payload_bytes"] == len(packet.chunks[0].payload)


def test_inspect_of_a_corrupt_packet(start_edge, packets: Path, tmp_path: Path) -> None:
    data = bytearray((packets / "7.kfpn").read_bytes())
    data[100] ^= 1
    (tmp_path / "corrupt.kfpn").write_bytes(data)
    process = start_edge("inspect", tmp_path / "corrupt.kfpn")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"error: {tmp_path / 'corrupt.kfpn'}: CRC-32C of a packet of {len(data)} bytes: ")
    assert len(err.splitlines()) == 1


def test_inspect_of_a_missing_packet(edge: Edge) -> None:
    outcome = edge("inspect", "missing.kfpn")
    assert (outcome.code, outcome.err) == (1, "error: missing.kfpn: No such file or directory\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "mp3"], "error: codec: expected one of interpolate, learned, network, raw, found 'mp3'"),
        (["--codec", "raw:precision=int9"], "error: codec raw, precision: expected one of fp32, fp16, int2"),
        (["--detector", "nosuchmodel"], "error: model 'nosuchmodel': expected a model folder, a bundled model ("),
        (["--detector", "COCO-Detection/faster_rcnn_R_50_FPN_3x"], "a config together with its weights"),
        (["--device", "abacus"], "error: device 'abacus': expected one that torch can compute on"),
        (["--precision", "fp8"], "'fp8'"),
        (["--nosuchoption"], "--nosuchoption"),
    ],
)
def test_wrong_usage(edge: Edge, pictures: Path, tmp_path: Path, options: list[str], message: str) -> None:
    outcome = edge("encode", pictures, "--out", tmp_path / "packets", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.splitlines()) == 1
    assert message in outcome.err
    assert not (tmp_path / "packets").exists()


def test_no_input_at_all(edge: Edge, tmp_path: Path) -> None:
    outcome = edge("encode", "--out", tmp_path)
    assert outcome.code == 2
    assert outcome.err == "error: inputs: expected pictures, a folder of pictures, a video or --camera, found none\n"


@pytest.mark.parametrize("command", ["encode", "send", "inspect"])
def test_help_has_an_example_and_the_exit_codes(edge: Edge, command: str) -> None:
    outcome = edge(command, "--help")
    assert outcome.code == 0
    assert f"Example: keyfpn-edge {command} " in outcome.out
    assert "Exit codes: 0" in outcome.out
