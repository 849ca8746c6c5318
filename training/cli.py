"""The command `keyfpn-train`: trains what keyfpn runs on."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keyfpn.detector import BUNDLED

from .codecs.commands import CODEC_HELP, NETWORK_HELP, codec, network
from .detector.recipe import Recipe
from .options import (
    Batch,
    Detector,
    Device,
    EvaluateEvery,
    Holdout,
    Images,
    Minutes,
    Precision,
    Resume,
    Run,
    Seed,
    Weights,
    hashes,
    say_ending,
    steps_option,
    steps_or,
    user_errors,
)

# torch and detectron2 take seconds to import: what needs them is imported where it is used.

app = typer.Typer(
    help="Trains what keyfpn runs on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


RecipeSteps = steps_option(Recipe.steps)

_DETECTOR_HELP = """Train a detector on pictures with boxes.

\b
Train the bundled detector from a MobileNetV2 backbone:
  keyfpn-train detector --images coco/train --annotations coco/instances_train.json \\
      --init-backbone mobilenetv2_coco_ssd_backbone.safetensors --out runs/detector

\b
The folder of the run gets
  log.jsonl      loss and learning rate of each step, AP of each evaluation
  loss.png       the same, drawn
  checkpoint.pt  every two minutes and at the end
  settings.json  the recipe, and the hashes of config, data and initial weights
  model/         the detector, ready to be run

Ctrl-C ends the run with a checkpoint; the same command with --resume goes on, step for step as if it had never
stopped.

Exit codes: 0 done; 2 wrong usage, or training cannot go on; 130 interrupted.
"""


@app.command(help=_DETECTOR_HELP)
def detector(
    *,
    images: Images,
    annotations: Annotated[Path, typer.Option(metavar="FILE", help="Their boxes, in COCO's JSON.")],
    out: Run,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="A detectron2 config: a YAML file, a bundled model or a zoo name.  [default: the bundled model's]",
        ),
    ] = None,
    init_backbone: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from these weights of torchvision's mobilenet_v2().features."),
    ] = None,
    init_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from these weights of a whole detector.")
    ] = None,
    steps: RecipeSteps = None,
    minutes: Minutes = None,
    batch: Batch = Recipe.batch,
    holdout: Holdout = Recipe.holdout,
    evaluate_every: EvaluateEvery = 500,
    device: Device = "cpu",
    precision: Precision = Recipe.precision,
    seed: Seed = Recipe.seed,
    resume: Resume = False,
) -> None:
    with user_errors():
        from keyfpn.detector.coco import CocoData

        from .detector.training import DetectorTraining, initial_network, read_training_config
        from .engine.loop import MODEL, TrainingLoop

        recipe = Recipe(
            steps=steps_or(Recipe.steps, steps, minutes), batch=batch, holdout=holdout, precision=precision, seed=seed
        )
        cfg = read_training_config(config, device)
        data = CocoData(images, annotations)
        network = initial_network(cfg, seed=seed, init_backbone=init_backbone, init_weights=init_weights)
        task = DetectorTraining(network, cfg, data, recipe)
        files = {"annotations": annotations, "init_backbone": init_backbone, "init_weights": init_weights}
        loop = TrainingLoop(
            task,
            out,
            {"task": "detector", "minutes": minutes, **asdict(recipe), **hashes(task.config, files)},
            steps=recipe.steps,
            minutes=minutes,
            batch=batch,
            seed=seed,
            evaluate_every=evaluate_every,
            console=Console(stderr=True),
        )
        ending = loop.run(resume=resume)
    say_ending(ending, task.state.step, f"The detector is in {out / MODEL}.")


app.command(help=CODEC_HELP)(codec)
app.command(help=NETWORK_HELP)(network)


_FIT_HELP = """Fit to a detector what the codecs raw and interpolate need, and publish both as a model folder.

\b
Publish the zoo's X101, with ranges and mixes fitted to 300 of your pictures:
  keyfpn-train fit --detector COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x --weights model_final_68b088.pkl \\
      --images train2017 --out models/x101

\b
The folder gets
  config.yaml, detector.safetensors, classes.json  the detector
  ranges.safetensors  the clip of each channel of least squared error, for 2 to 8 bits
  mixes.json          the weights of a level between two others, by least squares
  manifest.json       the hash of each file; its own hash is the fingerprint in every packet

Pictures need no labels; take them from training data, not from what you measure on. --out may be the model's own
folder: then only the fitted files and the manifest are new, and edge and server both need them.

Exit codes: 0 done; 2 wrong usage, or files that cannot be used.
"""


@app.command(help=_FIT_HELP)
def fit(
    *,
    images: Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write.")],
    detector: Detector = BUNDLED,
    weights: Weights = None,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures, evenly from the sorted folder.")] = 300,
    device: Device = "cpu",
) -> None:
    with user_errors():
        from rich.progress import track

        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .codecs.levels.fit import fit_parameters, publish

        model = open_model(detector, weights, device=device)
        found = find_pictures([images])
        chosen = found[:: max(1, len(found) // pictures)][:pictures]
        parameters = fit_parameters(model, track(chosen, "fitting", console=Console(stderr=True)))
        manifest = publish(model, parameters, out)
    for (level, finer, coarser), (a, b) in parameters.mixes.items():
        typer.echo(f"{level} = {a} * up({coarser}) + {b} * down({finer})")
    typer.echo(f"The model is in {out}, fingerprint {manifest.fingerprint.hex()}.")


def main() -> None:
    """Entry point."""
    warnings.filterwarnings("ignore", category=UserWarning, module="detectron2|torch")
    app()
