"""Worker processes that each take a task at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from typing_extensions import Self

from keyfpn.protocol.errors import Error

from .errors import WorkerError

Result = TypeVar("Result")
_KEPT = "What was measured is kept: the same command goes on from there."


@dataclass(frozen=True)
class Task:
    """A share of the work: its name in errors, and the arguments of the function."""

    name: str
    arguments: tuple[object, ...]


class Pool:
    """Worker processes, started when there is work for them and kept for more of it until :meth:`close`.

    They end with the process that has them, however that ends.
    """

    def __init__(self, workers: int) -> None:
        """Start nothing yet.

        Args:
            workers: the largest number of processes.
        """
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def run(self, function: Callable[..., Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Yield the results as they come, in any order.

        Closing the iterator, an error or an interrupt ends the processes at once; the next run has new ones.

        Args:
            function: importable, takes a task's arguments.
            tasks: what is to be done.

        Raises:
            WorkerError: a task failed, named; or a process was killed.
        """
        if self._executor is None:
            # Started afresh rather than forked: torch's threads do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self._workers, context, _start)
        finished = False
        try:
            futures = {self._executor.submit(function, *task.arguments): task for task in tasks}
            for future in as_completed(futures):
                task = futures.pop(future)
                yield task, _result(future, task)
            finished = True
        finally:
            if not finished:
                self._end()

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _end(self) -> None:
        if self._executor is None:
            return
        # terminate_workers() comes with Python 3.14 alone.
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None
        for process in processes:
            process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end()


def _result(future: Future[Result], task: Task) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "worker process",
            "it to run",
            "it was killed, perhaps for lack of memory",
            f"Try fewer --workers. {_KEPT}",
        ) from error
    except Error as error:
        subject = error.subject if task.name in error.subject else f"{task.name}: {error.subject}"
        raise WorkerError(subject, error.expected, error.found, error.hint or _KEPT) from error
    except Exception as error:
        raise WorkerError(task.name, "a result", f"{type(error).__name__}: {error}", _KEPT) from error


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
