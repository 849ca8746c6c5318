"""Worker processes that each take a picture at a time, and how far they are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .errors import BenchmarkError

Result = TypeVar("Result")
_SECONDS_BETWEEN_LINES = 60


@dataclass(frozen=True)
class Task:
    """A share of the work: its name in errors, and the arguments of the function."""

    name: str
    arguments: tuple[Any, ...]


class Pool(Generic[Result]):
    """Runs one function in several processes.

    Each has one thread, so that a picture's answer is the same with any number of them.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        *,
        setup: Callable[..., None],
        setup_arguments: tuple[Any, ...],
        workers: int,
    ) -> None:
        """Name the work; nothing starts yet.

        Args:
            function: importable, takes a task's arguments.
            setup: importable, runs once in each process before its first task.
            setup_arguments: what it takes.
            workers: the number of processes.
        """
        self._function, self._setup, self._setup_arguments = function, setup, setup_arguments
        self._workers = workers

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield the results as they come, in any order.

        Closing the iterator, or an interrupt, ends the processes at once.

        Raises:
            BenchmarkError: a task failed, named; or a process was killed.
        """
        # Started afresh rather than forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(
            min(self._workers, len(tasks)) or 1, context, _start, (self._setup, self._setup_arguments)
        )
        finished = False
        try:
            futures = {executor.submit(self._function, *task.arguments): task for task in tasks}
            for future in as_completed(futures):
                task = futures.pop(future)
                try:
                    yield task, future.result()
                except BrokenProcessPool as error:
                    raise BenchmarkError(
                        "a worker process was killed, perhaps for want of memory: try fewer --workers; all that was "
                        "measured is kept"
                    ) from error
                except Exception as error:
                    what = f"{type(error).__name__}: {error}"
                    raise BenchmarkError(what if task.name in what else f"{task.name}: {what}") from error
            finished = True
        finally:
            # terminate_workers() comes with Python 3.14 alone.
            processes = list((executor._processes or {}).values())
            executor.shutdown(wait=finished, cancel_futures=True)
            for process in () if finished else processes:
                process.terminate()


def _start(setup: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    setup(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def progress(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of ``total`` is done and how long the rest may take: a bar, or a line a minute where the console
    is no terminal.

    Yields:
        A function that takes how many more are done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, speed_estimate_period=600, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        begin = last = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal last, done
            done += count
            bar.advance(task, count)
            now = time.monotonic()
            if not console.is_terminal and (now - last >= _SECONDS_BETWEEN_LINES or done == total):
                left = (now - begin) / done * (total - done)
                console.print(f"{what}: {done} of {total} after {now - begin:.0f} s, about {left:.0f} s left")
                last = now

        yield advance
