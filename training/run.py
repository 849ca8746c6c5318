"""How the training commands begin and end a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from keyfpn.console.exits import EXIT_CODES, FAILED, INTERRUPTED, exit_codes
from keyfpn.protocol.errors import Error

if TYPE_CHECKING:
    from keyfpn.training.engine.loop import TrainingLoop

RUN_EXIT_CODES = f"{EXIT_CODES}; 130 interrupted."
"""For the help of the commands that run a training."""

Batch = TypeVar("Batch")


def hashes(config: str, files: Mapping[str, Path | None]) -> dict[str, str]:
    """What a run's settings tell of its inputs: the SHA-256 of ``config`` and of each file that was given."""
    from keyfpn.detector.manifest import Manifest

    given = {name: path for name, path in files.items() if path is not None}
    return dict(Manifest.of_files("settings", given, contents={"config": config.encode()}).hashes)


def finish(loop: TrainingLoop[Batch], what: str) -> None:
    """Run a training that was begun to its end, say how it ended, and leave with the exit code.

    Args:
        loop: the run.
        what: was trained, as in "The detector".
    """
    from keyfpn.training.engine.loop import Ending

    with exit_codes({Error: FAILED}):
        ending = loop.run()
    if ending is Ending.INTERRUPTED:
        typer.echo(f"Interrupted after step {loop.step}. Add --resume to go on.")
        raise typer.Exit(INTERRUPTED)
    typer.echo(f"{what} is in {loop.model}.")
