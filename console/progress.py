"""Where results are printed, and how far long work is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

_WIDTH_IN_A_PIPE = 160
_SECONDS_BETWEEN_LINES = 60


def output() -> Console:
    """Standard output; as wide as tables need where it is no terminal."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_IN_A_PIPE)


def errors() -> Console:
    """Standard error, where progress is shown."""
    return Console(stderr=True)


def track(items: Iterable[Item], total: int | None, what: str, *, lines: bool) -> Iterator[Item]:
    """Go through items, and show how far it is on standard error.

    Args:
        items: to go through.
        total: how many there are; None where nobody knows.
        what: in words.
        lines: whether every item prints a line: on the same terminal these show enough.
    """
    hidden = not sys.stderr.isatty() or (lines and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors(), disable=hidden, transient=True) as bar:
        yield from bar.track(items, total, description=what)


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
            if done and not console.is_terminal and (now - last >= _SECONDS_BETWEEN_LINES or done == total):
                left = (now - begin) / done * (total - done)
                console.print(f"{what}: {done} of {total} after {now - begin:.0f} s, about {left:.0f} s left")
                last = now

        yield advance
