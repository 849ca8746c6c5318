"""Tables of numbers, for a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """A title, the columns' names and rows of text; the first column is words, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_rich(self) -> RichTable:
        """For a terminal, without the title."""
        table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=not index)
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        """GitHub's dialect."""
        rule = [":--", *["--:"] * (len(self.columns) - 1)]
        lines = [self.columns, rule, *self.rows]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print tables one below the other, each under its title."""
    for table in tables:
        console.print()
        console.print(table.title, style="bold")
        console.print(table.to_rich())


def xfold(ratio: float) -> str:
    """How many times less, in four digits or so."""
    return f"{ratio:,.{3 if ratio < 10 else 1 if ratio < 100 else 0}f}"


def ap(value: float | None) -> str:
    """AP in points; a dash for none, and for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def signed(value: float | None, digits: int = 2) -> str:
    """With its sign, always; a dash for none, and for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:+,.{digits}f}".replace("-", "−")


def interval(ends: tuple[float, float]) -> str:
    """Of a difference."""
    return " … ".join(signed(end) for end in ends)
