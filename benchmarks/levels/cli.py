"""Command line: ``keyfpn-bench levels``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperCommand

from keyfpn.detector import BUNDLED

from ..options import (
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

LEVELS_HELP = """What each pyramid level is worth, and which are worth sending: the study this project starts from.

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
"""


class TakesSeveralFactors(TyperCommand):
    """Lets ``--cr`` take as many values as follow it; click's options take a fixed number."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
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
    out: Annotated[Path, typer.Option(help="Folder for levels.json, levels.md and the figures.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    cr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACTOR...", help="Measure this degradation alone; repeatable.  [default: the whole study]"
        ),
    ] = None,
    train_images: Annotated[
        Path | None, typer.Option(help="Folder of train pictures, to search the p4 rule on.")
    ] = None,
    train_annotations: Annotated[Path | None, typer.Option(help="Their boxes, in COCO's JSON.")] = None,
    scope: Annotated[
        Literal["rpn", "full"], typer.Option(help="Which scope the p4 rule is chosen by; both are always reported.")
    ] = "full",
    max_drop: Annotated[float, typer.Option(min=0, help="AP, in points, that the cheapest key levels may lose.")] = 1.4,
    publish: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write the detector with the best p4 rule as this model folder."),
    ] = None,
    limit: Limit = None,
    precision: Precision = "bf16",
    workers: Workers = None,
    cache: Cache = CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print levels.json instead of tables.")] = False,
) -> None:
    """Run the level study."""
    with user_errors():
        from ..engine.errors import BenchmarkError
        from .mix import PICTURES, publish_mix
        from .plot import draw_figures
        from .rebuild import Degrade
        from .report import print_report, to_markdown
        from .study import run_levels

        session = open_session(images, annotations, detector, weights, limit, precision, workers, cache)
        train = None
        if train_images is not None and train_annotations is not None:
            pictures = min(limit or PICTURES, PICTURES)
            train = replace(session, images=train_images, annotations=train_annotations, limit=pictures)
        elif train_images or train_annotations or publish:
            raise BenchmarkError("--train-images and --train-annotations go together, and --publish goes with them")
        if cr and train:
            raise BenchmarkError("--cr measures a degradation alone: leave --train-images and --train-annotations out")
        degradations = [Degrade.parse(text) for text in cr or ()]
        result = run_levels(session, train=train, degradations=degradations, scope=scope, max_drop=max_drop)
        figures = draw_figures(result)
        contents = {"levels.json": result.to_json().encode(), "levels.md": to_markdown(result, list(figures)).encode()}
        write_files(out, {**contents, **figures})
        if publish and result.search:
            manifest = publish_mix(session.model, result.search.winner, publish)
            typer.echo(f"The model is in {publish}, fingerprint {manifest.fingerprint.hex()}.", err=True)
    if as_json:
        print(result.to_json(), end="")
        return
    print_report(result, console())
