from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.training.engine.errors import TrainingError
from keyfpn.training.engine.log import Record, TrainingLog, read_log

RECORDS: list[Record] = [
    {"step": 0, "evaluation": {"AP": 0.0, "APl": None}},
    {"step": 1, "loss": 2.5},
    {"step": 2, "loss": 2.25},
    {"step": 2, "evaluation": {"AP": 1.5, "APl": None}, "published": "model"},
]


def write(path: Path) -> TrainingLog:
    log = TrainingLog(path, step=0)
    for record in RECORDS:
        log.write(record)
    return log


def test_what_is_written_is_read(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl")
    assert log.records == read_log(tmp_path / "log.jsonl") == RECORDS


def test_records_of_steps_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    write(tmp_path / "log.jsonl")
    log = TrainingLog(tmp_path / "log.jsonl", step=1)
    log.write({"step": 2, "loss": 2.125})
    assert read_log(tmp_path / "log.jsonl") == [*RECORDS[:2], {"step": 2, "loss": 2.125}]


def test_it_knows_what_was_evaluated_and_published(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl")
    assert [log.evaluated(step) for step in range(4)] == [True, False, True, False]
    assert [log.published(step) for step in range(4)] == [False, False, True, False]


@given(st.data())
def test_a_log_cut_anywhere_keeps_its_whole_records(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write(path)
    content = path.read_bytes()
    kept = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(kept)
    whole = kept.count(b"\n")
    assert TrainingLog(path, step=9).records == RECORDS[:whole]
    assert read_log(path) == RECORDS[:whole]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"loss": 1}', '{"step": "1"}'])
def test_another_file_is_no_log(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(TrainingError, match="line 2: expected a record"):
        TrainingLog(path, step=9)
    assert path.read_text().endswith(f"{line}\n")  # nobody's file is emptied
