"""What the studies' commands share: options, sessions, files written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyfpn.console.exits import FAILED, INTERRUPTED, exit_codes
from keyfpn.console.progress import errors
from keyfpn.detector.precision import Precision
from keyfpn.protocol.files import whole_file

from .engine.errors import WorkerError
from .engine.pool import Pool

# torch and detectron2 take seconds to import: what needs them is imported where it is used, so that --help and a
# mistyped option need not wait for them.
if TYPE_CHECKING:
    from .engine.session import Session

Images = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the pictures.")]
Annotations = Annotated[Path, typer.Option(metavar="FILE", help="Their boxes, in COCO's JSON.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Take the first so many pictures, by id.")]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes.  [default: one per CPU]")]
Cache = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Where measurements and features are kept.",
        show_default="keyfpn/bench in the user's cache folder",
    ),
]
# As the XDG base directory specification has it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyfpn" / "bench"


@contextmanager
def open_session(
    images: Path,
    annotations: Path,
    detector: str,
    weights: Path | None,
    limit: int | None,
    precision: Precision,
    workers: int | None,
    cache: Path,
) -> Iterator[Session]:
    """What a command's options name, with worker processes for the length of the block.

    The command ends with one line and an exit code where it cannot begin or go on.
    """
    with exit_codes({WorkerError: FAILED}):
        from .engine.session import Session

        try:
            with Pool(workers or os.cpu_count() or 1) as pool:
                yield Session(
                    images=images,
                    annotations=annotations,
                    limit=limit,
                    detector=detector,
                    weights=weights,
                    precision=precision,
                    cache=cache,
                    pool=pool,
                    console=errors(),
                )
        except KeyboardInterrupt:
            typer.echo("interrupted: what was measured is kept, and the same command goes on from here", err=True)
            raise typer.Exit(INTERRUPTED) from None


def write_files(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write name to content into a folder, each file whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(out / name) as file:
            file.write_bytes(content)
