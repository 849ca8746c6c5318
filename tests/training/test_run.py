"""How the commands end a run."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from keyfpn.protocol.errors import Error
from keyfpn.training.engine.errors import CheckpointError, DivergedError
from keyfpn.training.engine.loop import Ending
from keyfpn.training.run import finish, hashes


@dataclass
class FakeLoop:
    ending: Ending | Exception
    step: int = 7
    model: Path = Path("runs/one/model")

    def run(self) -> Ending:
        if isinstance(self.ending, Exception):
            raise self.ending
        return self.ending


def test_a_finished_run_says_where_the_model_is(capsys: pytest.CaptureFixture[str]) -> None:
    finish(FakeLoop(Ending.FINISHED), "The detector")
    assert capsys.readouterr().out == "The detector is in runs/one/model.\n"


def test_an_interrupted_run_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        finish(FakeLoop(Ending.INTERRUPTED), "The detector")
    assert caught.value.exit_code == 130
    assert capsys.readouterr().out == "Interrupted after step 7. Add --resume to go on.\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DivergedError("step 8", "a finite loss", "nan"), "step 8: expected a finite loss, found nan"),
        (CheckpointError("a", "b", "c", "Do d."), "a: expected b, found c. Do d."),
        (Error("1.png", "a picture", "none"), "1.png: expected a picture, found none"),
        (OSError(errno.ENOSPC, "No space left on device", "checkpoint.pt"), "checkpoint.pt: No space left on device"),
    ],
)
def test_whatever_stops_a_run_that_was_begun_is_one_line_and_exit_code_1(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        finish(FakeLoop(error), "The detector")
    assert caught.value.exit_code == 1
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_a_mistake_of_the_program_stays_one() -> None:
    with pytest.raises(ValueError, match="mine"):
        finish(FakeLoop(ValueError("mine")), "The detector")


def test_settings_tell_files_apart_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("one")
    (tmp_path / "c").write_text("two")
    found = hashes("config", {name: tmp_path / name for name in "abc"} | {"none": None})
    assert set(found) == {"config", "a", "b", "c"}
    assert found["a"] == found["b"] != found["c"]
