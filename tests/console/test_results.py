from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from keyfpn.console.results import CocoResults, OutputFolder, ResultError, WholeFile
from keyfpn.protocol.detections import Detections, LabelMap

LABELS = LabelMap(("person", "toothbrush"), (1, 90))


def found(*rows: tuple[float, ...], classes: tuple[int, ...] = ()) -> Detections:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.1, len(rows)).astype(np.float32)
    return Detections(boxes, scores, np.array(classes, np.int64), LABELS)


SOME = found((2, 3, 22, 13), (0, 0, 5, 5), classes=(0, 1))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_has_a_file_for_each_frame(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "new" / "folder", ".kfpn")
    path = folder.write("000042", b"data")
    assert path == tmp_path / "new" / "folder" / "000042.kfpn"
    assert path.read_bytes() == b"data"
    assert names(path.parent) == ["000042.kfpn"]


def test_a_folder_takes_each_name_once(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path, ".kfpn")
    assert folder.write("a", b"first").read_bytes() == b"first"
    message = (
        r"a\.kfpn: expected a name for each frame of the run, found one that another input has too\. Give each inp"
    )
    with pytest.raises(ResultError, match=message):
        folder.write("a", b"second")
    assert (tmp_path / "a.kfpn").read_bytes() == b"first"
    # Another run may write it again.
    OutputFolder(tmp_path, ".kfpn").write("a", b"third")
    assert (tmp_path / "a.kfpn").read_bytes() == b"third"


def test_a_folder_where_a_file_stands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        OutputFolder(tmp_path / "file", ".kfpn")


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with WholeFile(path) as file:
        file.write("first\n")
        (temporary,) = tmp_path.iterdir()
        assert temporary.read_text() == "first\n"  # on the disk at once
        assert not path.exists()
        file.write("zweite – Zeile\n")
    assert path.read_text() == "first\nzweite – Zeile\n"
    assert names(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_file_is_whole_when_the_block_fails_too(tmp_path: Path, error: type[BaseException]) -> None:
    def answer_one_frame() -> None:
        with WholeFile(tmp_path / "a.jsonl") as file:
            file.write("what was answered before\n")
            raise error

    with pytest.raises(error):
        answer_one_frame()
    assert (tmp_path / "a.jsonl").read_text() == "what was answered before\n"
    assert names(tmp_path) == ["a.jsonl"]


class Unfinished(WholeFile):
    """One whose end cannot be written."""

    def finish(self) -> None:
        self.write("half of th")
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("before", [None, "of an earlier run"])
def test_a_file_whose_end_cannot_be_written_is_not_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.json"
    if before is not None:
        path.write_text(before)
    with pytest.raises(OSError, match="No space left"), Unfinished(path):
        pass
    assert names(tmp_path) == ([] if before is None else ["a.json"])
    assert before is None or path.read_text() == before


def test_a_file_that_is_given_up_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("of an earlier run")
    file = WholeFile(path).__enter__()
    file.write("half of th")
    file.discard()
    assert names(tmp_path) == ["a.json"]
    assert path.read_text() == "of an earlier run"


def test_a_path_that_cannot_be_written_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing" / "a.json", tmp_path / "file" / "a.json", tmp_path / "folder"):
        with pytest.raises(ResultError, match=r"expected a file in a folder that exists, found (no|a) folder"):
            WholeFile(path)
    assert names(tmp_path) == ["file", "folder"]


def test_coco_results_are_what_pycocotools_reads(tmp_path: Path) -> None:
    with CocoResults(tmp_path / "coco.json") as results:
        results.add(SOME, 7, "a.jpg")
        results.add(found(), 8, "b.jpg")
        assert not (tmp_path / "coco.json").exists()
    truth = COCO()
    truth.dataset = {"images": [{"id": 7}, {"id": 8}], "annotations": [], "categories": [{"id": 1}, {"id": 90}]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        loaded = truth.loadRes(str(tmp_path / "coco.json"))
    person, toothbrush = loaded.dataset["annotations"]
    assert (person["image_id"], person["category_id"], person["bbox"]) == (7, 1, [2, 3, 20, 10])
    assert person["score"] == pytest.approx(0.9)
    assert (toothbrush["category_id"], toothbrush["bbox"]) == (90, [0, 0, 5, 5])
    assert names(tmp_path) == ["coco.json"]


def test_coco_results_of_nothing_are_an_empty_list(tmp_path: Path) -> None:
    with CocoResults(tmp_path / "coco.json") as results:
        results.add(found(), 1, "a.jpg")
    assert json.loads((tmp_path / "coco.json").read_text()) == []


def test_coco_results_are_whole_when_the_block_fails_too(tmp_path: Path) -> None:
    def answer_one_frame() -> None:
        with CocoResults(tmp_path / "coco.json") as results:
            results.add(SOME, 7, "a.jpg")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_one_frame()
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 2


def test_coco_results_mix_up_no_frames(tmp_path: Path) -> None:
    message = r"coco\.json, frame id: expected one frame of each id, found 7 of a\.jpg and b\.jpg"
    with CocoResults(tmp_path / "coco.json") as results:
        results.add(SOME, 7, "a.jpg")
        with pytest.raises(ResultError, match=message):
            results.add(SOME, 7, "b.jpg")
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 2
