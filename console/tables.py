"""Tables of numbers, for a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from .text import printable


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
            table.add_column(
                Text(printable(column)), justify="right" if index else "left", overflow="fold", no_wrap=not index
            )
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def to_markdown(self) -> str:
        """GitHub's dialect."""
        from tabulate import tabulate  # of an extra: only reports of benchmarks need it

        header, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.columns, *self.rows)]
        align = ("left", *["right"] * (len(self.columns) - 1))
        table = tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=align)
        return f"## {self.title}\n\n{table}\n"


def print_tables(tables: Iterable[Table], console: Console) -> None:
    """Print tables one below the other, each under its title."""
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold"))
        console.print(table.to_rich())


def ratio(value: float) -> str:
    """A compression ratio, in four digits or so."""
    return f"{value:,.{3 if value < 10 else 1 if value < 100 else 0}f}"


def ap(value: float | None) -> str:
    """AP in points; a dash for none, and for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def signed(value: float | None, digits: int = 2) -> str:
    """With its sign, always; a dash for none, and for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:+,.{digits}f}".replace("-", "−")


def interval(ends: tuple[float, float]) -> str:
    """Of a difference."""
    return " … ".join(signed(end) for end in ends)
