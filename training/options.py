"""The options that several of the training commands have, beside those of ``keyfpn.console.options``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[Path, typer.Option(metavar="DIR", help="The training pictures.")]
Run = Annotated[Path, typer.Option(metavar="DIR", help="The run's own folder.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Of the whole run, before what was trained is published.")]
Batch = Annotated[int, typer.Option(min=1, help="Pictures per step.")]
Holdout = Annotated[int, typer.Option(min=1, help="Pictures kept out of training, to evaluate on.")]
EvaluateEvery = Annotated[int, typer.Option(min=1, help="Steps from one evaluation to the next.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every random draw.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]

STEPS_HELP = "Of the whole run."


def default_steps(steps: int | None) -> str:
    """What the help shows as the default of ``--steps``: it counts only where no ``--minutes`` are given."""
    return f"{steps}, or with --minutes as many as there is time for"


def steps_or(default: int | None, steps: int | None, minutes: float | None) -> int | None:
    """The steps of a run, None if its minutes alone limit it."""
    return default if steps is None and minutes is None else steps
