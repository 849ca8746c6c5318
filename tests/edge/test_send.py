"""`keyfpn-edge send`: against the real server, and against servers that fail."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
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
    from tests.commands import Outcome
    from tests.conftest import ServerProcess

Edge = Callable[..., "Outcome"]


def unsplit(model: Model, network: GeneralizedRCNN, preprocessor: Preprocessor, path: Path) -> Detections:
    picture = read_picture(path)
    height, width = picture.shape[:2]
    network_input = torch.from_numpy(preprocessor.to_input(preprocessor.resize(picture)))
    with torch.inference_mode():
        (result,) = network([{"image": network_input, "height": height, "width": width}])
    return to_detections(result["instances"], model.labels)


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


def test_control_c_ends_a_camera_and_keeps_the_results(start_edge, fake_server, tmp_path: Path) -> None:
    endless = "lavfi:testsrc=size=320x64:rate=5"
    kept = tmp_path / "kept.jsonl"
    process = start_edge("send", "--camera", endless, "--server", fake_server().address, "--json", "--jsonl", kept)
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
