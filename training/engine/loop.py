"""The loop that any training runs in: steps, log, evaluations, checkpoints, and a clean end."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from .checkpoint import TrainingState
from .errors import TrainingError
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
    def state(self) -> TrainingState: ...

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


class TrainingLoop(Generic[Batch]):
    """Runs a task in a folder of its own.

    The folder gets ``settings.json``, ``log.jsonl``, ``loss.png``, ``checkpoint.pt`` and, at the end, ``model/``. Each
    step is seeded by the run's seed and its number: a resumed run takes the same steps as one that never stopped.
    """

    def __init__(
        self,
        task: Task[Batch],
        folder: Path,
        settings: Mapping[str, Any],
        *,
        steps: int | None,
        minutes: float | None,
        batch: int,
        seed: int,
        evaluate_every: int,
        console: Console,
    ) -> None:
        """Prepare a run, which ends after its steps or its minutes, whichever come first; one of them is given.

        Args:
            task: what is trained.
            folder: the run's own; made where it is missing.
            settings: what a resumed run must share with its beginning, fit for JSON.
            steps: of the whole run.
            minutes: of the whole run, over all processes that work on it, evaluations counted in.
            batch: pictures per step.
            seed: of every random draw.
            evaluate_every: steps from one evaluation to the next; the first is before step one.
            console: for the progress bar and what happens.
        """
        self._task, self._state, self._folder = task, task.state, folder
        self._settings = dict(settings)
        self._steps, self._minutes = steps, minutes
        self._batch, self._seed, self._evaluate_every = batch, seed, evaluate_every
        self._console = console

    def run(self, *, resume: bool) -> Ending:
        """Train to the end, or until Ctrl-C (or SIGTERM), which let the step in hand finish.

        Args:
            resume: go on from the folder's checkpoint.

        Raises:
            CheckpointError: there is nothing to resume, or it is damaged or of other settings.
            TrainingError: the folder holds a run already and ``resume`` is not set, or the loss is no number any more.
        """
        self._open(resume)
        if self._done == 1 and self._log.published(self._state.step):
            self._console.print(f"This run finished already, after {self._state.step} steps: {self._folder / MODEL}")
            return Ending.FINISHED
        self._began = time.perf_counter() - self._state.seconds
        progress = TrainingProgress(self._console, step=self._state.step, done=self._done, batch=self._batch)
        with _caught_signals() as stop, progress:
            ending = self._train(progress, stop)
            self._save()
            if ending is not Ending.INTERRUPTED:
                progress.doing("publishing")
                self._record(self._task.publish(self._folder / MODEL), published=MODEL)
                plot_log(self._log.records, self._folder / PLOT)
        return ending

    @property
    def _done(self) -> float:
        """The part of the run that is done, 0 to 1."""
        by_steps = 0.0 if self._steps is None else self._state.step / self._steps
        limit = math.inf if self._minutes is None else 60 * self._minutes
        by_time = self._state.seconds / limit if self._state.seconds < limit else 1.0
        return min(1.0, max(by_steps, by_time))

    def _open(self, resume: bool) -> None:
        checkpoint = self._folder / CHECKPOINT
        if resume:
            self._state.restore(checkpoint, self._settings)
        elif checkpoint.exists():
            raise TrainingError(
                f"{self._folder}: holds a run already: add --resume to go on with it, or give another --out"
            )
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / SETTINGS).write_text(json.dumps(self._settings, indent=2) + "\n")
            self._state.save(checkpoint, self._settings)
        self._log = TrainingLog(self._folder / LOG, step=self._state.step)

    def _train(self, progress: TrainingProgress, stop: Event) -> Ending:
        saved = time.perf_counter()
        with closing(self._task.batches(range(self._state.step, self._steps or _NO_LAST_STEP))) as batches:
            while self._done < 1:
                if self._state.step % self._evaluate_every == 0 and not self._log.evaluated(self._state.step):
                    progress.doing("evaluating")
                    self._record(self._task.evaluate())
                    progress.doing("training")
                    continue
                if stop.is_set():
                    return Ending.INTERRUPTED
                self._step(next(batches), progress)
                if time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                    self._save()
                    saved = time.perf_counter()
        return Ending.FINISHED

    def _step(self, batch: Batch, progress: TrainingProgress) -> None:
        state, done = self._state, self._done
        torch.manual_seed(_seed_of_step(self._seed, state.step))
        try:
            losses = self._task.losses(batch)
            loss = torch.stack(list(losses.values())).sum()
            values = torch.stack([loss, *losses.values()]).tolist()
            if not math.isfinite(values[0]):
                raise FloatingPointError(f"the loss is {values[0]}")
        except FloatingPointError as error:  # detectron2 raises it too
            raise TrainingError(
                f"training diverged at step {state.step + 1}: {error}; start again with better initial weights or a "
                "smaller learning rate"
            ) from error
        rate = state.descend(loss, done)
        names = ["loss", *losses]
        self._write({"learning_rate": rate, **dict(zip(names, (round(value, 6) for value in values), strict=True))})
        bits = float(losses["rate"].detach()) if "rate" in losses else None
        progress.advance(self._done, loss=values[0], learning_rate=rate, rate=bits)

    def _record(self, figures: Figures, **more: Any) -> None:
        self._write({"evaluation": figures, **more})
        shown = ", ".join(f"{name} {'-' if value is None else f'{value:.2f}'}" for name, value in figures.items())
        self._console.print(f"step {self._state.step}: {shown}")

    def _write(self, record: Mapping[str, Any]) -> None:
        self._state.seconds = time.perf_counter() - self._began
        self._log.write({"step": self._state.step, "seconds": round(self._state.seconds, 3), **record})

    def _save(self) -> None:
        self._state.save(self._folder / CHECKPOINT, self._settings)
        plot_log(self._log.records, self._folder / PLOT)


def _seed_of_step(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])


@contextmanager
def _caught_signals() -> Iterator[Event]:
    """Note the first Ctrl-C or SIGTERM; a second one ends the process as ever."""
    caught = Event()

    def note(number: int, _frame: object) -> None:
        signal.signal(number, before[number])
        caught.set()

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
