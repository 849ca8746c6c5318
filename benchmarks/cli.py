"""Command line: ``keyfpn-bench``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from detector import BUNDLED

# torch and detectron2 take seconds to import: what needs them is imported where it is used, so that --help and a
# mistyped option need not wait for them.
if TYPE_CHECKING:
    from .result import RateResult

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
USAGE, INTERRUPTED = 2, 130
"""Exit codes: something the user can mend; Ctrl-C, as a shell gives it."""
_FILE_WIDTH = 120
"""Columns of the tables where they are written, not shown."""

_Detector = Annotated[
    str, typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config.")
]
_Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The weights of a config: .safetensors, .pth or a zoo .pkl.")
]

_RATE_HELP = """AP against bytes: split inference with every codec setting, and the picture sent as JPEG, WebP and AVIF.

Stop it when you like: the same command goes on where it was, and one with more rows measures only those.

\b
The full comparison, and a quick one of two settings on 50 pictures:
  keyfpn-bench rate --images val2017 --annotations val2017.json --out full
  keyfpn-bench rate --images val2017 --annotations val2017.json --out quick \\
      --limit 50 --codec interpolate:precision=int4 --codec raw:precision=int4
"""


# As the XDG base directory specification has it.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyfpn" / "bench"


@app.callback()
def keyfpn_bench() -> None:
    """Measure what split inference costs and is worth, beside sending the picture."""


@app.command(help=_RATE_HELP)
def rate(
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    annotations: Annotated[Path, typer.Option(help="Their boxes, in COCO's JSON.")],
    out: Annotated[Path, typer.Option(help="Folder for rate.json, rate.md and rate.png.")],
    detector: _Detector = BUNDLED,
    weights: _Weights = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Codec settings of a split row; repeatable.  [default: raw and interpolate, fp32 to int2]"),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="Size at which pictures are sent: network, 0.75 or 0.5; repeatable.  [default: all three]"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many pictures, by id.")] = None,
    precision: Annotated[
        Literal["bf16", "fp32"], typer.Option(help="Of the detector's convolutions, in every row.")
    ] = "bf16",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.  [default: one per CPU]")] = None,
    cache: Annotated[
        Path,
        typer.Option(
            help="Where measurements and features are kept.", show_default="keyfpn/bench in the user's cache folder"
        ),
    ] = _CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print rate.json instead of tables.")] = False,
) -> None:
    """Run the rate-AP benchmark."""
    with _user_errors():
        from .anchors import SIZES
        from .rate import RateBenchmark
        from .rows import DEFAULT_CODECS

        result = RateBenchmark(
            images=images,
            annotations=annotations,
            limit=limit,
            detector=detector,
            weights=weights,
            precision=precision,
            codecs=codec or DEFAULT_CODECS,
            sizes=size or tuple(SIZES),
            cache=cache,
            workers=workers or os.cpu_count() or 1,
            console=Console(stderr=True),
        ).run()
        _write(result, out)
    if as_json:
        print(result.to_json(), end="")
        return
    from .report import print_report

    print_report(result, Console(width=None if sys.stdout.isatty() else _FILE_WIDTH))


_SPLIT_HELP = """Check that the two halves are the detector, and time what the edge saves.

\b
  keyfpn-bench split --images val2017 --limit 50

Each picture is detected unsplit, and through a packet with every level in float32: boxes and scores must agree. Then
the edge's half is timed, for several sets of key levels, in turns with backbone and whole FPN.
"""


@app.command(help=_SPLIT_HELP)
def split(
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    detector: _Detector = BUNDLED,
    weights: _Weights = None,
    limit: Annotated[int, typer.Option(min=2, help="Take the first so many pictures, by name.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run the split benchmark."""
    with _user_errors():
        from detector.model import open_detector
        from detector.pictures import find_pictures

        from .split import compare_with_unsplit, time_edge, to_dict

        model = open_detector(detector, weights)
        pictures = find_pictures([images])[:limit]
        difference, times = compare_with_unsplit(model, pictures), time_edge(model, pictures)
    if as_json:
        print(json.dumps(to_dict(model, difference, times), indent=1))
        return
    from .report import print_split

    print_split(difference, times, Console(width=None if sys.stdout.isatty() else _FILE_WIDTH))


def _write(result: RateResult, out: Path) -> None:
    from detector.files import whole_file

    from .plot import draw_plot
    from .report import to_markdown

    out.mkdir(parents=True, exist_ok=True)
    contents = {
        "rate.json": result.to_json().encode(),
        "rate.md": to_markdown(result).encode(),
        "rate.png": draw_plot(result),
    }
    for name, content in contents.items():
        with whole_file(out / name) as file:
            file.write_bytes(content)


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn what a user can mend into one line and exit code 2."""
    from detector.errors import ModelError, PictureError
    from protocol.errors import ConfigurationError, ProtocolError

    from .errors import BenchmarkError

    try:
        yield
    except (ModelError, PictureError, ConfigurationError, ProtocolError, BenchmarkError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(USAGE) from error
    except KeyboardInterrupt:
        typer.echo("interrupted: what was measured is kept, and the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None


def main() -> None:
    """Entry point of ``keyfpn-bench``."""
    app()
