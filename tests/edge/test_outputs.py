"""What `send` writes on request."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from keyfpn.console.results import OutputFolder, ResultError
from keyfpn.detector.model import Model
from keyfpn.edge.in_flight import Answer
from keyfpn.edge.outputs import ResultFiles
from keyfpn.edge.pipeline import EncodedFrame
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.messages import Refusal

NONE = {"coco": None, "jsonl": None, "drawings": None}


@pytest.fixture
def answers(encoded_frames: Callable[..., list[EncodedFrame]], detector_model: Model) -> list[Answer]:
    """Frame 1 shows a person and a faint toothbrush, frame 2 was refused."""
    found = Detections(
        np.array([[2, 3, 22, 13], [0, 0, 5, 5]], np.float32),
        np.array([0.9, 0.1], np.float32),
        np.array([0, 79]),
        detector_model.labels,
    )
    first, second = encoded_frames(2)
    refusal = Refusal("ChecksumMismatch", "damaged")
    return [Answer(first, found, None, 12.5, 4.5), Answer(second, None, refusal, 3.0, 1.0)]


def everything(folder: Path) -> dict[str, Path]:
    return {"coco": folder / "coco.json", "jsonl": folder / "all.jsonl", "drawings": folder / "drawn"}


def add(files: ResultFiles, answer: Answer) -> None:
    assert isinstance(answer.sent, EncodedFrame)
    files.add(answer.sent, answer)


def test_writes_what_pycocotools_reads(tmp_path: Path, answers: list[Answer]) -> None:
    with ResultFiles(**{**NONE, "coco": tmp_path / "coco.json"}) as files:
        for answer in answers:
            add(files, answer)
    truth = COCO()
    truth.dataset = {"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": [{"id": 1}, {"id": 90}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(tmp_path / "coco.json"))
    person, toothbrush = loaded.dataset["annotations"]
    assert (person["image_id"], person["category_id"], person["bbox"]) == (1, 1, [2, 3, 20, 10])
    assert person["score"] == pytest.approx(0.9)
    assert toothbrush["category_id"] == 90


def test_writes_a_json_object_per_frame(tmp_path: Path, answers: list[Answer]) -> None:
    with ResultFiles(**{**NONE, "jsonl": tmp_path / "all.jsonl"}) as files:
        for answer in answers:
            add(files, answer)
    first, second = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
    assert (first["name"], first["frame_id"], first["image_size"]) == ("frame-1", "1", [30, 40])
    assert first["stream_id"] == second["stream_id"] == "0000000000000005"
    assert (first["round_trip_ms"], first["server_ms"]) == (12.5, 4.5)
    assert [box["class"] for box in first["detections"]] == ["person", "toothbrush"]
    assert first["detections"][0]["box"] == [2, 3, 22, 13]
    assert second["error"] == "damaged"
    assert "detections" not in second


def test_draws_boxes_into_the_picture(tmp_path: Path, answers: list[Answer]) -> None:
    with ResultFiles(**{**NONE, "drawings": tmp_path / "drawn"}) as files:
        for answer in answers:
            add(files, answer)
    (path,) = (tmp_path / "drawn").iterdir()
    with Image.open(path) as drawn:
        assert (path.name, drawn.size) == ("frame-1.jpg", (40, 30))
        assert np.asarray(drawn).max() > 50  # the picture was black


def test_completes_the_files_when_the_run_fails(tmp_path: Path, answers: list[Answer]) -> None:
    def fail_after_one() -> None:
        with ResultFiles(**everything(tmp_path)) as files:
            add(files, answers[0])
            assert not (tmp_path / "coco.json").exists()  # nothing half done under the real name
            assert not (tmp_path / "all.jsonl").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_after_one()
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 2
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "coco.json", "drawn"]


def test_nothing_is_written_before_the_run_begins(tmp_path: Path) -> None:
    ResultFiles(**everything(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "missing" / "b.jsonl", tmp_path / "folder"):
        for places in ({"coco": tmp_path / "a.json", "jsonl": wrong}, {"coco": wrong, "jsonl": None}):
            with pytest.raises(ResultError, match=f"{wrong}: expected a file in a folder that exists"):
                ResultFiles(**places, drawings=None)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("earlier", [True, False])
def test_where_one_cannot_be_opened_the_others_stay_as_they_were(tmp_path: Path, earlier: bool) -> None:
    (tmp_path / "drawn").write_text("a file")
    results = [tmp_path / "a.json", tmp_path / "b.jsonl"]
    if earlier:
        for path in results:
            path.write_text("results of an earlier run")
    files = ResultFiles(coco=results[0], jsonl=results[1], drawings=tmp_path / "drawn")
    with pytest.raises(FileExistsError, match="drawn"):
        files.__enter__()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "drawn", *(results if earlier else [])])
    if earlier:
        assert [path.read_text() for path in results] == ["results of an earlier run"] * 2


def test_two_frames_of_one_id_do_not_mix_in_a_coco_file(tmp_path: Path, answers: list[Answer]) -> None:
    answer = answers[0]
    assert isinstance(answer.sent, EncodedFrame)
    other = replace(answer.sent, frame=replace(answer.sent.frame, name="other"))
    mixed = r"coco\.json, frame id: expected one frame of each id, found 1 of frame-1 and other"
    with ResultFiles(**{**NONE, "coco": tmp_path / "coco.json"}) as files:
        add(files, answer)
        with pytest.raises(ResultError, match=mixed):
            files.add(other, answer)
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 2


def test_a_folder_takes_each_name_once(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "new" / "folder", ".kfpn")
    assert folder.write("a", b"first").read_bytes() == b"first"
    taken = r"a\.kfpn: expected a name for each frame of the run, found one that another input has too"
    with pytest.raises(ResultError, match=taken):
        folder.write("a", b"second")
    assert (tmp_path / "new" / "folder" / "a.kfpn").read_bytes() == b"first"
    # Another run may write it again.
    OutputFolder(tmp_path / "new" / "folder", ".kfpn").write("a", b"third")
    assert (tmp_path / "new" / "folder" / "a.kfpn").read_bytes() == b"third"
