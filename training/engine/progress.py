"""The progress bar of a run."""

from __future__ import annotations

import time
from collections import deque
from statistics import fmean
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_WINDOW = 20
"""Steps that the shown loss and pace are means of."""


class TrainingProgress:
    """Shows the step, loss, learning rate, pace and the estimated time to the end."""

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
        self._task = self._progress.add_task("training", total=1.0, completed=done, step=step, figures="")
        self._step = step
        self._batch = batch
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._rates: deque[float] = deque(maxlen=_WINDOW)
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

    def advance(self, done: float, *, loss: float, learning_rate: float, rate: float | None = None) -> None:
        """Count one step.

        Args:
            done: the part of the run that is done with it.
            loss: of the step.
            learning_rate: of the step.
            rate: the part of the loss that bits are, where there is such a part.
        """
        self._step += 1
        self._losses.append(loss)
        if rate is not None:
            self._rates.append(rate)
        self._times.append(time.perf_counter())
        pace = ""
        if len(self._times) > 1:
            seconds = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
            pace = f"{self._batch / seconds:.1f} pictures/s"
        parts = f"loss {fmean(self._losses):.3f}"
        if self._rates:
            bits = fmean(self._rates)
            parts += f" = rate {bits:.3f} + distortion {fmean(self._losses) - bits:.3f}"
        figures = f"{parts}  lr {learning_rate:.1e}  {pace}"
        self._progress.update(self._task, completed=done, step=self._step, figures=figures)
