"""What the training commands share: options, errors for users, endings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from .engine.loop import Ending

FAILED, INTERRUPTED = 2, 130
"""Exit codes: training cannot start or go on; Ctrl-C, as shells have it."""

Images = Annotated[Path, typer.Option(metavar="DIR", help="The training pictures.")]
Run = Annotated[Path, typer.Option(metavar="DIR", help="The run's own folder.")]
Detector = Annotated[
    str, typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config.")
]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Of a config: .safetensors, .pth or a zoo .pkl.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="Of the whole run, before what was trained is published.")]
Batch = Annotated[int, typer.Option(min=1, help="Pictures per step.")]
Holdout = Annotated[int, typer.Option(min=1, help="Pictures kept out of training, to evaluate on.")]
EvaluateEvery = Annotated[int, typer.Option(min=1, help="Steps from one evaluation to the next.")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Precision of convolutions and matrix products.")]
Seed = Annotated[int, typer.Option(min=0, help="Of every random draw.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]


def steps_option(default: int | None) -> Any:
    """``--steps``, whose default counts where no ``--minutes`` are given."""
    shown = f"{default}, or with --minutes as many as there is time for"
    return Annotated[int | None, typer.Option(min=1, help="Of the whole run.", show_default=shown)]


def steps_or(default: int | None, steps: int | None, minutes: float | None) -> int | None:
    """The steps of a run, None if its minutes alone limit it."""
    return default if steps is None and minutes is None else steps


def say_ending(ending: Ending, step: int, done: str) -> None:
    if ending.name == "INTERRUPTED":
        typer.echo(f"Interrupted after step {step}. Add --resume to go on.")
        raise typer.Exit(INTERRUPTED)
    typer.echo(done)


def hashes(config: str, files: dict[str, Path | None]) -> dict[str, str]:
    from keyfpn.detector.manifest import Manifest

    given = {name: path for name, path in files.items() if path is not None}
    return dict(Manifest.of_files("settings", given, contents={"config": config.encode()}).hashes)


@contextmanager
def user_errors() -> Iterator[None]:
    from keyfpn.detector.errors import ModelError, PictureError

    from .engine.errors import TrainingError

    try:
        yield
    except (ModelError, PictureError, TrainingError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(FAILED) from error
