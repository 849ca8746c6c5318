"""The loop that any training runs in: steps, log, evaluations, checkpoints, and a clean end."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from .checkpoint import Settings, TrainingState
from .errors import DivergedError, TrainingError
from .log import TrainingLog
from .plot import plot_log
from .progress import TrainingProgress

CHECKPOINT, LOG, PLOT, SETTINGS, MODEL = "checkpoint.pt", "log.jsonl", "loss.png", "settings.json", "model"
CHECKPOINT_SECONDS = 120.0
_NO_LAST_STEP = 1 << 40

Batch = TypeVar("Batch")
Figures = dict[str, float | None]
"""What an evaluation found, by name; None where there was nothing to measure."""


class Task(Protocol[Batch]):
    """What is trained."""

    @property
    def state(self) -> TrainingState[nn.Module]: ...

    @property
    def shown_losses(self) -> Sequence[str]:
        """The names of the losses that the progress bar shows beside their sum."""

    def batches(self, steps: range) -> Generator[Batch]:
        """The batches of the steps, each the same whenever it is asked for; closed when no more are wanted."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The scalar losses whose sum is descended."""

    def evaluate(self) -> Figures:
        """Measure the averaged weights."""

    def publish(self, folder: Path) -> Figures:
        """Write the averaged weights as a model folder, whole or not at all, and measure what was written."""


class Ending(Enum):
    """Why a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Schedule:
    """How long a run takes, and what each of its steps takes.

    It ends after its steps or its minutes, whichever come first; one of them is given.
    """

    steps: int | None
    """Of the whole run."""
    minutes: float | None
    """Of the whole run, over all processes that work on it, evaluations counted in."""
    batch: int
    """Pictures per step."""
    seed: int
    """Of every random draw."""
    evaluate_every: int
    """Steps from one evaluation to the next; the first is before step one."""

    def done(self, step: int, seconds: float) -> float:
        """The part of the run that is done, 0 to 1, after so many steps and so many seconds."""
        by_steps = 0.0 if self.steps is None else step / self.steps
        limit = math.inf if self.minutes is None else 60 * self.minutes
        by_time = seconds / limit if seconds < limit else 1.0
        return min(1.0, max(by_steps, by_time))


class TrainingLoop(Generic[Batch]):
    """Runs a task in a folder of its own.

    The folder gets ``settings.json``, ``log.jsonl``, ``loss.png``, ``checkpoint.pt`` and, at the end, ``model/``. Each
    step is seeded by the run's seed and its number: a resumed run takes the same steps as one that never stopped.
    """

    def __init__(
        self,
        task: Task[Batch],
        folder: Path,
        settings: Settings,
        schedule: Schedule,
        *,
        resume: bool,
        console: Console,
    ) -> None:
        """Begin a run, or go on with one that was begun.

        Args:
            task: what is trained.
            folder: the run's own; made where it is missing.
            settings: what a resumed run must share with its beginning, fit for JSON.
            schedule: how long it takes.
            resume: go on from the folder's checkpoint.
            console: for the progress bar and what happens.

        Raises:
            CheckpointError: there is nothing to resume, or it is damaged or of other settings.
            TrainingError: the folder holds a run already and ``resume`` is not set, or it cannot be a run's folder.
        """
        self._task, self._state, self._folder = task, task.state, folder
        self._settings, self._schedule, self._console = settings, schedule, console
        checkpoint = folder / CHECKPOINT
        if resume:
            self._state.restore(checkpoint, settings)
        else:
            _make_folder(folder)
            (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
            self._state.save(checkpoint, settings)
        self._log = TrainingLog(folder / LOG, step=self._state.step)
        self._began = time.perf_counter()

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self._state.step

    @property
    def model(self) -> Path:
        """The folder of what was trained, once the run is finished."""
        return self._folder / MODEL

    def run(self) -> Ending:
        """Train to the end, or until Ctrl-C (or SIGTERM), which let the step in hand finish.

        Raises:
            DivergedError: the loss is no finite number any more.
            Error: a batch cannot be loaded, or the task cannot evaluate or publish.
        """
        if self._done == 1 and self._log.published(self.step):
            self._console.print(f"This run finished already, after {self.step} steps: {self.model}")
            return Ending.FINISHED
        self._began = time.perf_counter() - self._state.seconds
        progress = TrainingProgress(self._console, step=self.step, done=self._done, batch=self._schedule.batch)
        with _caught_signals() as stop, progress:
            ending = self._train(progress, stop)
            self._save()
            if ending is not Ending.INTERRUPTED:
                progress.doing("publishing")
                self._record(self._task.publish(self.model), published=MODEL)
            self._draw()
        return ending

    @property
    def _done(self) -> float:
        return self._schedule.done(self._state.step, self._state.seconds)

    def _train(self, progress: TrainingProgress, stop: Event) -> Ending:
        saved = time.perf_counter()
        with closing(self._task.batches(range(self.step, self._schedule.steps or _NO_LAST_STEP))) as batches:
            while self._done < 1:
                if self.step % self._schedule.evaluate_every == 0 and not self._log.evaluated(self.step):
                    progress.doing("evaluating")
                    self._record(self._task.evaluate())
                    progress.doing("training")
                    continue
                if stop.is_set():
                    return Ending.INTERRUPTED
                self._step(next(batches), progress)
                if time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                    self._save()
                    self._draw()
                    saved = time.perf_counter()
        return Ending.FINISHED

    def _step(self, batch: Batch, progress: TrainingProgress) -> None:
        state, done = self._state, self._done
        torch.manual_seed(_seed_of_step(self._schedule.seed, state.step))
        loss, values = self._losses(batch)
        rate = state.descend(loss, done)
        self._write({"learning_rate": rate, **{name: round(value, 6) for name, value in values.items()}})
        shown = {name: values[name] for name in ("loss", *self._task.shown_losses)}
        progress.advance(self._done, losses=shown, learning_rate=rate)

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss to descend, and the numbers of it and of its parts."""
        try:
            losses = self._task.losses(batch)
            loss = torch.stack(list(losses.values())).sum()
            values = torch.stack([loss, *losses.values()]).tolist()
            if not math.isfinite(values[0]):
                raise FloatingPointError(values[0])
        except FloatingPointError as error:  # detectron2 raises it too
            raise DivergedError(
                f"step {self.step + 1}, where training diverged",
                "a finite loss",
                str(error),
                "Start again with better initial weights or a smaller learning rate.",
            ) from error
        return loss, dict(zip(["loss", *losses], values, strict=True))

    def _record(self, figures: Figures, **more: object) -> None:
        self._write({"evaluation": figures, **more})
        shown = ", ".join(f"{name} {'-' if value is None else f'{value:.2f}'}" for name, value in figures.items())
        self._console.print(f"step {self.step}: {shown}")

    def _write(self, record: Mapping[str, object]) -> None:
        self._state.seconds = time.perf_counter() - self._began
        self._log.write({"step": self.step, "seconds": round(self._state.seconds, 3), **record})

    def _save(self) -> None:
        self._state.save(self._folder / CHECKPOINT, self._settings)

    def _draw(self) -> None:
        plot_log(self._log.records, self._folder / PLOT)


def _make_folder(folder: Path) -> None:
    if (folder / CHECKPOINT).exists():
        hint = "Add --resume to go on with it, or give another --out."
        raise TrainingError(str(folder), "a folder without a run", "one that holds a run already", hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        found = f"a file at {error.filename}"
        raise TrainingError(str(folder), "a folder, or a place to make it", found, "Give another --out.") from error


def _seed_of_step(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


@contextmanager
def _caught_signals() -> Iterator[Event]:
    """Note the first Ctrl-C or SIGTERM; a second one ends the process at once."""
    caught = Event()

    def note(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, before[number])
        caught.set()

    before = {int(number): signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
