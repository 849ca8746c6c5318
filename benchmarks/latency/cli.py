"""Command line: ``keyfpn-bench split``."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfpn.console.exits import EXIT_CODES, exit_codes
from keyfpn.console.options import Detector, Json, Weights
from keyfpn.console.progress import output
from keyfpn.console.records import json_line
from keyfpn.detector import BUNDLED

from ..options import Images

SPLIT_HELP = f"""Check that the two halves are the detector, and time what the edge saves.

\b
  keyfpn-bench split --images val2017 --limit 50

Each picture is detected unsplit, and through a packet with every level in float32: boxes and scores must agree. Then
the edge's half is timed, for several sets of key levels, in turns with backbone and whole FPN.

{EXIT_CODES}.
"""


def split(
    images: Images,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    limit: Annotated[int, typer.Option(metavar="N", min=2, help="Take the first so many pictures, by name.")] = 50,
    as_json: Json = False,
) -> None:
    """Run the split benchmark."""
    with exit_codes():
        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .codecs import time_codecs
        from .report import print_split, to_dict
        from .split import compare_with_unsplit, time_edge

        model = open_model(detector, weights)
        pictures = find_pictures([images])[:limit]
        difference, times = compare_with_unsplit(model, pictures), time_edge(model, pictures)
        codec_times = time_codecs(model, pictures)
    if as_json:
        print(json_line(to_dict(model, difference, times, codec_times)))
    else:
        print_split(difference, times, codec_times, output())
