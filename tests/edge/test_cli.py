"""`keyfpn-edge`: encode, send and inspect, with the bundled model."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import psutil
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from PIL import Image
from pycocotools.coco import COCO

from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.results import to_detections
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Packet

if TYPE_CHECKING:
    from tests.conftest import ServerProcess
    from tests.edge.conftest import Outcome

Edge = Callable[..., "Outcome"]
LEVELS = ("p2", "p3", "p4", "p5", "p6")


def start(binaries: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [binaries / "keyfpn-edge", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def unsplit(model: Model, network: GeneralizedRCNN, preprocessor: Preprocessor, path: Path) -> Detections:
    picture = read_picture(path)
    height, width = picture.shape[:2]
    network_input = torch.from_numpy(preprocessor.to_input(preprocessor.resize(picture)))
    with torch.inference_mode():
        (result,) = network([{"image": network_input, "height": height, "width": width}])
    return to_detections(result["instances"], model.labels)


@pytest.fixture(scope="module")
def packets(pictures: Path, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the real command makes of the pictures, with a log of the run."""
    folder = tmp_path_factory.mktemp("packets")
    process = start(binaries, "encode", pictures, "--out", folder, "--codec", "interpolate:levels=p3+p5,precision=int8")
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


def test_sent_features_give_the_boxes_of_the_unsplit_detector(
    edge: Edge,
    server: ServerProcess,
    pictures: Path,
    detector_model: Model,
    network: GeneralizedRCNN,
    preprocessor: Preprocessor,
    tmp_path: Path,
) -> None:
    results = {"--coco": tmp_path / "coco.json", "--jsonl": tmp_path / "all.jsonl", "--draw": tmp_path / "drawn"}
    options = [part for option in results.items() for part in option]
    outcome = edge("send", pictures, "--server", server.address, "--codec", "raw:precision=fp32", "--json", *options)
    assert (outcome.code, outcome.err) == (0, "")
    *frames, summary = outcome.records
    assert [frame["name"] for frame in frames] == ["000000000042", "7", "portrait"]
    for frame, path in zip(frames, sorted(pictures.iterdir()), strict=True):
        expected = unsplit(detector_model, network, preprocessor, path)
        assert len(frame["detections"]) == len(expected) > 0
        np.testing.assert_allclose([d["box"] for d in frame["detections"]], expected.boxes, atol=0.01)
        np.testing.assert_allclose([d["score"] for d in frame["detections"]], expected.scores, atol=1e-4)
        assert frame["round_trip_ms"] >= frame["server_ms"] > 0
    assert frames[0]["detections"][0]["class"] == "person"
    assert summary["frames"] == 3
    assert 1 < summary["compression_ratio"] < 1.01  # p2 to p5 as they are; only p6 is left out
    assert (tmp_path / "all.jsonl").read_text().splitlines() == outcome.out.splitlines()[:3]
    check_coco(tmp_path / "coco.json", {int(frame["frame_id"]): len(frame["detections"]) for frame in frames})
    for path in pictures.iterdir():
        with Image.open(path) as original, Image.open(tmp_path / "drawn" / f"{path.stem}.jpg") as drawn:
            assert drawn.size == original.size


def check_coco(results: Path, counts: dict[int, int]) -> None:
    truth = COCO()
    truth.dataset = {"images": [{"id": id} for id in counts], "annotations": [], "categories": [{"id": 1}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(results))
    assert {id: len(loaded.getAnnIds(imgIds=[id])) for id in counts} == counts


def test_send_prints_a_line_per_frame_of_a_video(
    edge: Edge, server: ServerProcess, photo: np.ndarray, tmp_path: Path
) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 128, "yuv420p", 4_000_000
        for shift in (0, 8):
            view = np.ascontiguousarray(photo[shift : shift + 128, 100:420])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode())
    outcome = edge("send", tmp_path / "clip.mp4", "--server", server.address, "--codec", "interpolate")
    assert (outcome.code, outcome.err) == (0, "")
    levels, _, lines = outcome.out.partition("\n\n")
    heading, first, second, summary = lines.splitlines()
    assert "p6: exact from p5 (max-pool, kernel 1, stride 2)" in levels
    assert heading.split()[:4] == ["frame", "boxes", "bytes", "ratio"]
    size = int(first.split()[2].replace(",", ""))
    assert (first.split()[0], second.split()[0]) == ("clip-000001", "clip-000002")
    rate = float(summary.partition(" Mbit/s")[0].rpartition(" ")[2])
    assert rate == pytest.approx(8e-6 * 10 * size, rel=0.05)
    assert "round trip" in summary


def test_a_server_with_another_model_gets_no_frame(
    edge: Edge, fake_server, detector_model: Model, pictures: Path
) -> None:
    other = fake_server(models=[wire.Model(name="other", fingerprint=bytes(8), codecs=["interpolate"])])
    outcome = edge("send", pictures, "--server", other.address)
    assert outcome.code == 3
    assert outcome.err.startswith(f"error: server {other.address}: expected the edge's model {detector_model.name} (")
    assert "found other (fingerprint 0000000000000000)" in outcome.err
    assert not other.received


def test_no_server(edge: Edge, pictures: Path, tmp_path: Path) -> None:
    outcome = edge("send", pictures, "--server", "127.0.0.1:1", "--coco", tmp_path / "coco.json")
    assert outcome.code == 3
    assert outcome.err.startswith("error: server 127.0.0.1:1: expected a keyfpn server, found that nothing answers")
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_packet_too_large_for_the_server_is_not_sent(edge: Edge, fake_server, pictures: Path) -> None:
    small = fake_server(max_message_bytes=10_000)
    outcome = edge("send", pictures / "7.jpg", "--server", small.address, "--codec", "interpolate")
    assert outcome.code == 1
    assert "error: 7: packet: expected at most 99" in outcome.err
    assert not small.received


def test_frames_that_the_server_refuses(edge: Edge, fake_server, pictures: Path, tmp_path: Path) -> None:
    def refuse(frames: Sequence[wire.Frame]) -> object:
        for frame in frames:
            packet = Packet.parse(frame.packet)
            error = wire.FrameError(kind="X", message="not today")
            yield wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, error=error)

    outcome = edge(
        "send", pictures / "7.jpg", "--server", fake_server(refuse).address, "--coco", tmp_path / "coco.json"
    )
    assert outcome.code == 1
    assert outcome.err == "error: 7: the server refused the packet: not today\n"
    assert json.loads((tmp_path / "coco.json").read_text()) == []


def test_a_server_that_is_killed_in_mid_stream(edge: Edge, doomed_server, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"

    def kill_after_an_answer() -> None:
        (growing,) = wait_for(lambda: list(tmp_path.glob(".kept.jsonl.*")))
        wait_for(lambda: growing.stat().st_size)
        doomed_server.process.kill()

    killer = threading.Thread(target=kill_after_an_answer)
    killer.start()
    endless = "lavfi:testsrc=size=320x64:rate=5"
    outcome = edge("send", "--camera", endless, "--server", doomed_server.address, "--json", "--jsonl", kept)
    killer.join()
    assert outcome.code == 3
    gone = f"error: server {doomed_server.address}: expected answers to all frames, found that it went away"
    assert outcome.err.startswith(gone)
    assert len(outcome.err.splitlines()) == 1
    ids = [json.loads(line)["frame_id"] for line in kept.read_text().splitlines()]
    assert ids == [str(number) for number in range(1, len(ids) + 1)] != []
    assert outcome.records[-1]["frames"] == len(ids)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


def test_control_c_ends_a_camera_and_keeps_the_results(binaries: Path, fake_server, tmp_path: Path) -> None:
    endless = "lavfi:testsrc=size=320x64:rate=5"
    kept = tmp_path / "kept.jsonl"
    process = start(binaries, "send", "--camera", endless, "--server", fake_server().address, "--json", "--jsonl", kept)
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    *frames, summary = [json.loads(line) for line in [*lines, *out.splitlines()]]
    assert summary["event"] == "summary"
    assert len(frames) >= 2
    # The signal may come between keeping an answer and printing it.
    assert kept.read_text().splitlines()[: len(frames)] == [json.dumps(frame) for frame in frames]
    assert len(frames) <= summary["frames"] <= len(kept.read_text().splitlines()) <= len(frames) + 1


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


def test_inspect_of_a_corrupt_packet(binaries: Path, packets: Path, tmp_path: Path) -> None:
    data = bytearray((packets / "7.kfpn").read_bytes())
    data[100] ^= 1
    (tmp_path / "corrupt.kfpn").write_bytes(data)
    process = start(binaries, "inspect", tmp_path / "corrupt.kfpn")
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
