import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from keyfpn.protocol.detections import Detections
from keyfpn.detector.model import Model
from keyfpn.edge.encoder import EncodedFrame
from keyfpn.edge.in_flight import Answer
from keyfpn.edge.outputs import OutputFolder, ResultFiles


@pytest.fixture
def answers(encoded_frames: Callable[..., list[EncodedFrame]]) -> list[Answer]:
    """Frame 1 shows a person and a faint toothbrush, frame 2 was refused."""
    found = Detections(
        np.array([[2, 3, 22, 13], [0, 0, 5, 5]], np.float32), np.array([0.9, 0.1], np.float32), np.array([0, 79])
    )
    first, second = encoded_frames(2)
    return [Answer(first, found, "", 12.5, 4.5), Answer(second, None, "damaged", 3.0, 1.0)]


def everything(folder: Path) -> dict[str, Path]:
    return {"coco": folder / "coco.json", "jsonl": folder / "all.jsonl", "draw": folder / "drawn"}


def test_writes_what_pycocotools_reads(tmp_path: Path, detector_model: Model, answers: list[Answer]) -> None:
    with ResultFiles(detector_model, coco=tmp_path / "coco.json", jsonl=None, draw=None) as files:
        for answer in answers:
            files.add(answer)
    truth = COCO()
    truth.dataset = {"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": [{"id": 1}, {"id": 90}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(tmp_path / "coco.json"))
    person, toothbrush = loaded.dataset["annotations"]
    assert (person["image_id"], person["category_id"], person["bbox"]) == (1, 1, [2, 3, 20, 10])
    assert person["score"] == pytest.approx(0.9)
    assert toothbrush["category_id"] == 90


def test_writes_a_json_object_per_frame(tmp_path: Path, detector_model: Model, answers: list[Answer]) -> None:
    with ResultFiles(detector_model, coco=None, jsonl=tmp_path / "all.jsonl", draw=None) as files:
        for answer in answers:
            files.add(answer)
    first, second = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
    assert (first["name"], first["frame_id"], first["image_size"]) == ("frame-1", 1, [30, 40])
    assert (first["round_trip_ms"], first["server_ms"]) == (12.5, 4.5)
    assert [box["class"] for box in first["detections"]] == ["person", "toothbrush"]
    assert first["detections"][0]["box"] == [2, 3, 22, 13]
    assert second["error"] == "damaged"
    assert "detections" not in second


def test_draws_boxes_into_the_picture(tmp_path: Path, detector_model: Model, answers: list[Answer]) -> None:
    with ResultFiles(detector_model, coco=None, jsonl=None, draw=tmp_path / "drawn") as files:
        for answer in answers:
            files.add(answer)
    (path,) = (tmp_path / "drawn").iterdir()
    with Image.open(path) as drawn:
        assert (path.name, drawn.size) == ("frame-1.jpg", (40, 30))
        assert np.asarray(drawn).max() > 50  # the picture was black


def test_completes_the_files_when_the_run_fails(tmp_path: Path, detector_model: Model, answers: list[Answer]) -> None:
    def fail_after_one() -> None:
        with ResultFiles(detector_model, **everything(tmp_path)) as files:
            files.add(answers[0])
            assert not (tmp_path / "coco.json").exists()  # nothing half done under the real name
            assert not (tmp_path / "all.jsonl").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_after_one()
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 2
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "coco.json", "drawn"]


def test_a_path_that_cannot_be_written_is_found_at_once(tmp_path: Path, detector_model: Model) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        ResultFiles(detector_model, coco=tmp_path / "a.json", jsonl=tmp_path / "missing" / "b.jsonl", draw=None)
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_each_name_once(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "new" / "folder", ".kfpn")
    assert folder.write("a", b"first").read_bytes() == b"first"
    with pytest.raises(ValueError, match=r"a\.kfpn was written for another input of that name"):
        folder.write("a", b"second")
    assert (tmp_path / "new" / "folder" / "a.kfpn").read_bytes() == b"first"
    # Another run may write it again.
    OutputFolder(tmp_path / "new" / "folder", ".kfpn").write("a", b"third")
    assert (tmp_path / "new" / "folder" / "a.kfpn").read_bytes() == b"third"
