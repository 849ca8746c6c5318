"""The command `keyfpn-train detector`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from keyfpn.console.exits import exit_codes
from keyfpn.console.options import Device, Precision
from keyfpn.console.progress import errors
from keyfpn.training.options import (
    STEPS_HELP,
    Batch,
    EvaluateEvery,
    Holdout,
    Images,
    Minutes,
    Resume,
    Run,
    Seed,
    default_steps,
    steps_or,
)
from keyfpn.training.run import RUN_EXIT_CODES, finish, hashes

from .recipe import Recipe

# torch and detectron2 take seconds to import: what needs them is imported where it is used.

HELP = f"""Train a detector on pictures with boxes.

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

{RUN_EXIT_CODES}
"""


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
    steps: Annotated[int | None, typer.Option(min=1, help=STEPS_HELP, show_default=default_steps(Recipe.steps))] = None,
    minutes: Minutes = None,
    batch: Batch = Recipe.batch,
    holdout: Holdout = Recipe.holdout,
    evaluate_every: EvaluateEvery = 500,
    device: Device = "cpu",
    precision: Precision = Recipe.precision,
    seed: Seed = Recipe.seed,
    resume: Resume = False,
) -> None:
    """Train a detector; registered with :data:`HELP`."""
    with exit_codes():
        from keyfpn.detector.coco import CocoData
        from keyfpn.training.engine.loop import Schedule, TrainingLoop

        from .start import initial_network, read_training_config
        from .training import DetectorTraining

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
            Schedule(recipe.steps, minutes, batch, seed, evaluate_every),
            resume=resume,
            console=errors(),
        )
    finish(loop, "The detector")
