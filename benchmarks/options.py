"""What the commands of ``keyfpn-bench`` share: options, errors of the user, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

# torch and detectron2 take seconds to import: what needs them is imported where it is used, so that --help and a
# mistyped option need not wait for them.
if TYPE_CHECKING:
    from .engine.session import Session

USAGE, INTERRUPTED = 2, 130
"""Exit codes: something the user can mend; Ctrl-C, as a shell gives it."""
_FILE_WIDTH = 120
"""Columns of the tables where they are written, not shown."""

Detector = Annotated[
    str, typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config.")
]
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The weights of a config: .safetensors, .pth or a zoo .pkl.")
]

Images = Annotated[Path, typer.Option(help="Folder of the pictures.")]
Annotations = Annotated[Path, typer.Option(help="Their boxes, in COCO's JSON.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take the first so many pictures, by id.")]
Precision = Annotated[Literal["bf16", "fp32"], typer.Option(help="Of the detector's convolutions, in every row.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes.  [default: one per CPU]")]
Cache = Annotated[
    Path,
    typer.Option(
        help="Where measurements and features are kept.", show_default="keyfpn/bench in the user's cache folder"
    ),
]
# As the XDG base directory specification has it.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyfpn" / "bench"


def open_session(
    images: Path,
    annotations: Path,
    detector: str,
    weights: Path | None,
    limit: int | None,
    precision: Literal["bf16", "fp32"],
    workers: int | None,
    cache: Path,
) -> Session:
    """What a command's options name; nothing is opened yet."""
    from .engine.session import Session

    return Session(
        images=images,
        annotations=annotations,
        limit=limit,
        detector=detector,
        weights=weights,
        precision=precision,
        cache=cache,
        workers=workers or os.cpu_count() or 1,
        console=Console(stderr=True),
    )


def console() -> Console:
    """Where results are printed."""
    return Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)


def write_files(out: Path, contents: Mapping[str, bytes]) -> None:
    """Write name to content into a folder, each file whole or not at all."""
    from keyfpn.protocol.files import whole_file

    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(out / name) as file:
            file.write_bytes(content)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what a user can mend into one line and exit code 2."""
    from keyfpn.detector.errors import ModelError, PictureError
    from keyfpn.protocol.errors import ConfigurationError, ProtocolError

    from .engine.errors import BenchmarkError

    try:
        yield
    except (ModelError, PictureError, ConfigurationError, ProtocolError, BenchmarkError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE) from error
    except KeyboardInterrupt:
        typer.echo("interrupted: what was measured is kept, and the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
