"""Command line: ``keyfpn-bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from keyfpn.detector import BUNDLED

from .levels.cli import LEVELS_HELP, TakesSeveralFactors, levels
from .options import (
    CACHE,
    Annotations,
    Cache,
    Detector,
    Images,
    Limit,
    Precision,
    Weights,
    Workers,
    console,
    open_session,
    user_errors,
    write_files,
)

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

_RATE_HELP = """AP against bytes: split inference with every codec setting, and the picture sent as JPEG, WebP and AVIF.

Stop it when you like: the same command goes on where it was, and one with more rows measures only those.

\b
The full comparison, and a quick one of two settings on 50 pictures:
  keyfpn-bench rate --images val2017 --annotations val2017.json --out full
  keyfpn-bench rate --images val2017 --annotations val2017.json --out quick \\
      --limit 50 --codec interpolate:precision=int4 --codec raw:precision=int4
"""


@app.callback()
def keyfpn_bench() -> None:
    """Measure what split inference costs and is worth, beside sending the picture."""


@app.command(help=_RATE_HELP)
def rate(
    images: Images,
    annotations: Annotations,
    out: Annotated[Path, typer.Option(help="Folder for rate.json, rate.md and rate.png.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(help="Codec settings of a split row; repeatable.  [default: all codecs of the model]"),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="Size at which pictures are sent: network, 0.75 or 0.5; repeatable.  [default: all three]"),
    ] = None,
    limit: Limit = None,
    precision: Precision = "bf16",
    workers: Workers = None,
    cache: Cache = CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print rate.json instead of tables.")] = False,
) -> None:
    """Run the rate-AP benchmark."""
    with user_errors():
        from .rate.baselines import SIZES
        from .rate.plot import draw_plot
        from .rate.report import print_report, to_markdown
        from .rate.rows import default_codecs
        from .rate.run import run_rate

        session = open_session(images, annotations, detector, weights, limit, precision, workers, cache)
        result = run_rate(session, codec or default_codecs(session.model), size or tuple(SIZES))
        write_files(
            out,
            {
                "rate.json": result.to_json().encode(),
                "rate.md": to_markdown(result).encode(),
                "rate.png": draw_plot(result),
            },
        )
    if as_json:
        print(result.to_json(), end="")
        return
    print_report(result, console())


app.command(help=LEVELS_HELP, cls=TakesSeveralFactors)(levels)


_SPLIT_HELP = """Check that the two halves are the detector, and time what the edge saves.

\b
  keyfpn-bench split --images val2017 --limit 50

Each picture is detected unsplit, and through a packet with every level in float32: boxes and scores must agree. Then
the edge's half is timed, for several sets of key levels, in turns with backbone and whole FPN.
"""


@app.command(help=_SPLIT_HELP)
def split(
    images: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    limit: Annotated[int, typer.Option(min=2, help="Take the first so many pictures, by name.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run the split benchmark."""
    with user_errors():
        from keyfpn.detector.model import open_detector
        from keyfpn.detector.pictures import find_pictures

        from .latency.codecs import time_codecs
        from .latency.report import print_split, to_dict
        from .latency.split import compare_with_unsplit, time_edge

        model = open_detector(detector, weights)
        pictures = find_pictures([images])[:limit]
        difference, times = compare_with_unsplit(model, pictures), time_edge(model, pictures)
        codec_times = time_codecs(model, pictures)
    if as_json:
        print(json.dumps(to_dict(model, difference, times, codec_times), indent=1))
        return
    print_split(difference, times, codec_times, console())


def main() -> None:
    """Entry point of ``keyfpn-bench``."""
    app()
