"""Command line: ``keyfpn-bench``."""

from __future__ import annotations

from typing import NoReturn

import typer

from keyfpn.console.exits import Version, run

from .latency.cli import SPLIT_HELP, split
from .levels.cli import LEVELS_HELP, TakesSeveralFactors, levels
from .rate.cli import RATE_HELP, rate

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def keyfpn_bench(version: Version = False) -> None:
    """Measure what split inference costs and is worth, beside sending the picture."""


app.command(help=RATE_HELP)(rate)
app.command(help=LEVELS_HELP, cls=TakesSeveralFactors)(levels)
app.command(help=SPLIT_HELP)(split)


def main() -> NoReturn:
    """Entry point of ``keyfpn-bench``."""
    run(app, "keyfpn-bench")
