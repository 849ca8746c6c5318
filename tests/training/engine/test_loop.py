from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from keyfpn.training.engine import loop as loop_module
from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.checkpoint import TrainingState
from keyfpn.training.engine.errors import CheckpointError, DivergedError, TrainingError
from keyfpn.training.engine.log import Record, read_log
from keyfpn.training.engine.loop import Ending, Schedule, TrainingLoop

STEPS = 12
pytestmark = pytest.mark.usefixtures("drawings")


class Line:
    """Fits a line through a dropout layer, so that each step draws from torch's generator."""

    shown_losses = ("loss_fit",)

    def __init__(self, *, interrupt_at: int | None = None, nan_at: int | None = None) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        self.state = TrainingState(model, moving_average(model, 0.9), optimizer, lambda _step, done: 1 - done)
        self.interrupt_at, self.nan_at = interrupt_at, nan_at
        self.published = 0
        self.closed = False

    def batches(self, steps: range) -> Iterator[Tensor]:
        try:
            for step in steps:
                yield torch.full((4, 8), 1.0 + step)
        finally:
            self.closed = True

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        step = int(batch[0, 0])  # from 1 on
        if step == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        error = (self.state.model(batch) - 2 * batch.sum(1, keepdim=True)).square().mean()
        return {"loss_fit": error * (torch.nan if step == self.nan_at else 1), "loss_size": 0.01 * error.detach()}

    def evaluate(self) -> dict[str, float | None]:
        weights = self.state.average.module[1].weight
        return {"error": float((weights.detach() - 2).abs().mean()), "nothing": None}

    def publish(self, folder: Path) -> dict[str, float | None]:
        self.published += 1
        folder.mkdir(exist_ok=True)
        return self.evaluate()


def make_loop(
    task: Line,
    folder: Path,
    *,
    resume: bool = False,
    steps: int | None = STEPS,
    minutes: float | None = None,
    console: Console | None = None,
) -> TrainingLoop[Tensor]:
    schedule = Schedule(steps, minutes, batch=4, seed=5, evaluate_every=4)
    console = console or Console(quiet=True)
    return TrainingLoop(task, folder, {"steps": steps}, schedule, resume=resume, console=console)


def figures(folder: Path) -> list[Record]:
    """The log, less what the clock says."""
    return [{key: record[key] for key in record if key != "seconds"} for record in read_log(folder / "log.jsonl")]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; the tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    assert make_loop(Line(), folder).run() is Ending.FINISHED
    return folder


def test_the_folder_holds_the_whole_run(unbroken: Path) -> None:
    assert {path.name for path in unbroken.iterdir()} == {
        "checkpoint.pt",
        "log.jsonl",
        "loss.png",
        "model",
        "settings.json",
    }
    assert json.loads((unbroken / "settings.json").read_text()) == {"steps": STEPS}
    log = read_log(unbroken / "log.jsonl")
    assert [record["step"] for record in log if "loss" in record] == list(range(1, STEPS + 1))
    assert [record["step"] for record in log if "evaluation" in record] == [0, 4, 8, STEPS]
    assert [record["seconds"] for record in log] == sorted(record["seconds"] for record in log)
    first = next(record for record in log if "loss" in record)
    assert first["loss"] == pytest.approx(first["loss_fit"] + first["loss_size"], rel=1e-4)
    assert first["learning_rate"] == 0.05


@pytest.mark.parametrize("at", [1, 4, 5, STEPS])
def test_an_interrupted_run_resumes_as_if_it_had_not_stopped(tmp_path: Path, unbroken: Path, at: int) -> None:
    folder = tmp_path / "broken"
    task = Line(interrupt_at=at)
    ending = make_loop(task, folder).run()
    assert task.state.step == at  # the step in hand was finished
    assert task.closed
    assert (ending, task.published) == ((Ending.FINISHED, 1) if at == STEPS else (Ending.INTERRUPTED, 0))
    assert make_loop(Line(), folder, resume=True).run() is Ending.FINISHED
    assert figures(folder) == figures(unbroken)


def test_a_killed_run_takes_the_steps_after_its_checkpoint_again(tmp_path: Path, unbroken: Path) -> None:
    folder = tmp_path / "killed"
    make_loop(Line(interrupt_at=5), folder).run()
    checkpoint = (folder / "checkpoint.pt").read_bytes()
    make_loop(Line(interrupt_at=9), folder, resume=True).run()
    (folder / "checkpoint.pt").write_bytes(checkpoint)  # as if the second process had died without one
    make_loop(Line(), folder, resume=True).run()
    assert figures(folder) == figures(unbroken)


def test_checkpoints_are_written_along_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawings: list[Path]
) -> None:
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(DivergedError):
        make_loop(Line(nan_at=7), tmp_path / "run").run()
    assert drawings == [tmp_path / "run" / "loss.png"] * 6
    task = Line()
    make_loop(task, tmp_path / "run", minutes=0, resume=True).run()
    assert task.state.step == 6


def test_minutes_end_a_run_as_steps_do(tmp_path: Path) -> None:
    folder, task = tmp_path / "run", Line()
    assert make_loop(task, folder, steps=None, minutes=0.02).run() is Ending.FINISHED
    rates = [record["learning_rate"] for record in read_log(folder / "log.jsonl") if "loss" in record]
    assert (len(rates), task.published) == (task.state.step, 1)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    output = StringIO()
    again = make_loop(Line(), folder, steps=None, minutes=0.02, resume=True, console=Console(file=output))
    assert again.run() is Ending.FINISHED
    assert "finished already" in output.getvalue()


def test_a_run_may_be_given_more_minutes(tmp_path: Path, unbroken: Path) -> None:
    folder, task = tmp_path / "run", Line()
    assert make_loop(task, folder, minutes=0).run() is Ending.FINISHED
    assert (task.state.step, task.published) == (0, 1)
    assert make_loop(Line(), folder, resume=True).run() is Ending.FINISHED
    assert [record for record in figures(folder) if "loss" in record] == [
        record for record in figures(unbroken) if "loss" in record
    ]


def test_a_finished_run_says_so_and_does_nothing(unbroken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.name != "log.jsonl"}
    output, task = StringIO(), Line()
    assert make_loop(task, unbroken, console=Console(file=output), resume=True).run() is Ending.FINISHED
    assert "finished already" in output.getvalue()
    assert (task.published, task.state.step) == (0, STEPS)
    assert before == {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.name != "log.jsonl"}


def test_a_folder_with_a_run_is_not_overwritten(unbroken: Path) -> None:
    with pytest.raises(TrainingError, match=r"found one that holds a run already\. Add --resume"):
        make_loop(Line(), unbroken)


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none"):
        make_loop(Line(), tmp_path / "run", resume=True)


def test_other_settings_do_not_resume(unbroken: Path) -> None:
    with pytest.raises(CheckpointError, match="steps is 12 there, 24 now"):
        make_loop(Line(), unbroken, steps=24, resume=True)


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_is_no_folder_of_a_run(tmp_path: Path, inside: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"expected a folder, or a place to make it, found a file .* another --out"):
        make_loop(Line(), tmp_path / "file" / "run" if inside else tmp_path / "file")


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"^step 3, where training diverged: expected a finite loss, found nan\."):
        make_loop(Line(nan_at=3), tmp_path / "run").run()
    assert make_loop(Line(), tmp_path / "run", resume=True).run() is Ending.FINISHED


def test_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    make_loop(Line(interrupt_at=2), tmp_path / "run").run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    class Impatient(Line):
        def losses(self, batch: Tensor) -> dict[str, Tensor]:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            return super().losses(batch)

    with pytest.raises(KeyboardInterrupt):
        make_loop(Impatient(), tmp_path / "run").run()
