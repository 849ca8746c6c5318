"""Command line: ``keyfpn-bench rate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyfpn.console.exits import EXIT_CODES
from keyfpn.console.options import Detector, Json, Precision, Weights
from keyfpn.console.progress import output
from keyfpn.console.records import json_line
from keyfpn.detector import BUNDLED

from ..options import CACHE, Annotations, Cache, Images, Limit, Workers, open_session, write_files

RATE_HELP = f"""AP against bytes: split inference with every codec setting, and the picture sent as JPEG, WebP and AVIF.

Stop it when you like: the same command goes on where it was, and one with more rows measures only those.

\b
The full comparison, and a quick one of two settings on 50 pictures:
  keyfpn-bench rate --images val2017 --annotations val2017.json --out full
  keyfpn-bench rate --images val2017 --annotations val2017.json --out quick \\
      --limit 50 --codec interpolate:precision=int4 --codec raw:precision=int4

{EXIT_CODES}; 130 interrupted.
"""


def rate(
    images: Images,
    annotations: Annotations,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for rate.json, rate.md and rate.png.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    codec: Annotated[
        list[str] | None,
        typer.Option(metavar="SETTINGS", help="Codec settings of a row; repeatable.  [default: all codecs]"),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE",
            help="Size of sent pictures: network, 0.75 or 0.5; repeatable.  [default: all]",
        ),
    ] = None,
    limit: Limit = None,
    precision: Precision = "bf16",
    workers: Workers = None,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Run the rate-AP benchmark."""
    with open_session(images, annotations, detector, weights, limit, precision, workers, cache) as session:
        from .baselines import SIZES
        from .plot import draw_plot
        from .report import print_report, to_markdown
        from .rows import default_codecs
        from .run import run_rate

        result = run_rate(session, codec or default_codecs(session.model), size or tuple(SIZES))
        contents = {"rate.json": result.to_json().encode(), "rate.md": to_markdown(result).encode()}
        write_files(out, contents | {"rate.png": draw_plot(result)})
        if as_json:
            print(json_line(result.to_dict()))
        else:
            print_report(result, output())
