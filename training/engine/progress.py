"""The progress bar of a run."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from statistics import fmean
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_WINDOW = 20
"""Steps that the shown losses and the pace are means of."""


class TrainingProgress:
    """Shows the step, losses, learning rate, pace and the estimated time to the end."""

    def __init__(self, console: Console, *, step: int, done: float, batch: int) -> None:
        """Start after ``step`` steps of ``batch`` pictures each, which are the part ``done`` of the run."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("step {task.fields[step]}"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=120,
        )
        self._task = self._progress.add_task("training", total=1.0, step=step, figures="")
        self._progress.update(self._task, completed=done)
        self._step = step
        self._batch = batch
        self._losses: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def doing(self, what: str) -> None:
        """Say what takes the time, and forget the pace so far."""
        self._progress.update(self._task, description=what)
        self._times.clear()

    def advance(self, done: float, *, losses: Mapping[str, float], learning_rate: float) -> None:
        """Count one step.

        Args:
            done: the part of the run that is done with it.
            losses: of the step, by name, as they are shown.
            learning_rate: of the step.
        """
        self._step += 1
        for name, loss in losses.items():
            self._losses[name].append(loss)
        self._times.append(time.perf_counter())
        pace = ""
        if len(self._times) > 1:
            seconds = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
            pace = f"{self._batch / seconds:.1f} pictures/s"
        means = "  ".join(f"{name} {fmean(values):.3f}" for name, values in self._losses.items())
        figures = f"{means}  lr {learning_rate:.1e}  {pace}"
        self._progress.update(self._task, completed=done, step=self._step, figures=figures)
