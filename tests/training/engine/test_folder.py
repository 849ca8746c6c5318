from __future__ import annotations

from pathlib import Path

import pytest

from keyfpn.training.engine.folder import whole_folder


def write(folder: Path, text: str) -> None:
    with whole_folder(folder) as partial:
        assert not partial.exists()
        partial.mkdir()
        (partial / text).write_text(text)


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    write(tmp_path / "model", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]


def fail(folder: Path) -> None:
    with whole_folder(folder) as partial:
        partial.mkdir()
        raise RuntimeError("no")


def test_a_block_that_fails_leaves_the_older_one_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    with pytest.raises(RuntimeError, match="no"):
        fail(tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    for name in (".model.partial", ".model.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "left").write_text("")
    write(tmp_path / "model", "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]
