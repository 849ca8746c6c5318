"""Command line: ``keyfpn-bench levels``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperCommand

from keyfpn.console.exits import EXIT_CODES
from keyfpn.console.options import Detector, Json, Precision, Weights
from keyfpn.console.progress import output
from keyfpn.console.records import json_line
from keyfpn.detector import BUNDLED

from ..engine.errors import BenchmarkError
from ..options import CACHE, Annotations, Cache, Images, Limit, Workers, open_session, write_files

LEVELS_HELP = f"""What each pyramid level is worth, and which are worth sending: the study this project starts from.

\b
Levels degraded one by one, in pairs and all; every set of key levels; with train pictures, the rule for p4:
  keyfpn-bench levels --images val2017 --annotations val2017.json --out levels \\
      --train-images train2017 --train-annotations train2017.json

\b
One degradation alone, as factors of p2 to p6 or by level:
  keyfpn-bench levels --images val2017 --annotations val2017.json --out one --cr 1 1 1 1 4
  keyfpn-bench levels --images val2017 --annotations val2017.json --out one --cr p6=4

Everything is measured in two scopes, side by side: rpn, where the ROI heads keep the true levels, as in the study, and
full, where RPN and ROI heads work on what a server would have. Stop it when you like: the same command goes on.

The best rule for p4 is reported, and in levels.json. To give it to a model, use keyfpn-train fit --mix, as the report
says.

{EXIT_CODES}; 130 interrupted.
"""


class TakesSeveralFactors(TyperCommand):
    """Lets ``--cr`` take as many values as follow it; click's options take a fixed number."""

    # The type of ctx in the class above is private to typer.
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        joined: list[str] = []
        for word in args:
            if len(joined) > 1 and joined[-2] == "--cr" and not word.startswith("-"):
                joined[-1] += f" {word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def levels(
    images: Images,
    annotations: Annotations,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for levels.json, levels.md and the figures.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    cr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR...", help="Measure this degradation alone; repeatable.  [default: the whole study]"
        ),
    ] = None,
    train_images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of train pictures, to search the p4 rule on.")
    ] = None,
    train_annotations: Annotated[Path | None, typer.Option(metavar="FILE", help="Their boxes, in COCO's JSON.")] = None,
    scope: Annotated[
        Literal["rpn", "full"], typer.Option(help="Which scope the p4 rule is chosen by; both are always reported.")
    ] = "full",
    max_drop: Annotated[float, typer.Option(min=0, help="AP, in points, that the cheapest key levels may lose.")] = 1.4,
    limit: Limit = None,
    precision: Precision = "bf16",
    workers: Workers = None,
    cache: Cache = CACHE,
    as_json: Json = False,
) -> None:
    """Run the level study."""
    with open_session(images, annotations, detector, weights, limit, precision, workers, cache) as session:
        from .mix import PICTURES
        from .plot import draw_figures
        from .rebuild import Degrade
        from .report import print_report, to_markdown
        from .study import run_levels

        train = None
        if train_images is not None and train_annotations is not None:
            pictures = min(limit or PICTURES, PICTURES)
            train = replace(session, images=train_images, annotations=train_annotations, limit=pictures)
        elif train_images or train_annotations:
            raise BenchmarkError(
                "train pictures", "--train-images and --train-annotations together", "one of them alone"
            )
        if cr and train:
            hint = "Leave --train-images and --train-annotations out."
            raise BenchmarkError("--cr", "a degradation alone", "train pictures too", hint)
        degradations = [Degrade.parse(text) for text in cr or ()]
        result = run_levels(session, train=train, degradations=degradations, scope=scope, max_drop=max_drop)
        figures = draw_figures(result)
        contents = {"levels.json": result.to_json().encode(), "levels.md": to_markdown(result, list(figures)).encode()}
        write_files(out, {**contents, **figures})
        if as_json:
            print(json_line(result.to_dict()))
        else:
            print_report(result, output())
