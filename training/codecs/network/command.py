"""The command `keyfpn-train network`."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfpn.console.exits import exit_codes
from keyfpn.console.options import Detector, Device, Precision, Weights
from keyfpn.detector import BUNDLED
from keyfpn.training.codecs.recipe import ReconstructionRecipe
from keyfpn.training.codecs.run import RUN_HELP, LearningRate, begin
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
from keyfpn.training.run import finish

# torch and detectron2 take seconds to import: what needs them is imported where it is used.

HELP = f"""Train the network of the codec `network`, which rebuilds missing levels from sent ones.

One network serves all sets of key levels. Pictures need no labels.

\b
Twenty minutes for the bundled detector, then a packet of p3 and p5 for it:
  keyfpn-train network --images coco/train --minutes 20 --out runs/network
  keyfpn-edge encode picture.jpg --detector runs/network/model --codec network:levels=p3+p5 --out packets
{RUN_HELP}"""


def network(
    *,
    images: Images,
    out: Run,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help=STEPS_HELP, show_default=default_steps(ReconstructionRecipe.steps))
    ] = None,
    minutes: Minutes = None,
    batch: Batch = ReconstructionRecipe.batch,
    holdout: Holdout = ReconstructionRecipe.holdout,
    evaluate_every: EvaluateEvery = 1000,
    device: Device = "cpu",
    precision: Precision = ReconstructionRecipe.precision,
    learning_rate: LearningRate = ReconstructionRecipe.learning_rate,
    seed: Seed = ReconstructionRecipe.seed,
    resume: Resume = False,
) -> None:
    """Train the reconstruction network; registered with :data:`HELP`."""
    with exit_codes():
        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .training import NetworkTraining

        recipe = ReconstructionRecipe(
            steps=steps_or(ReconstructionRecipe.steps, steps, minutes),
            batch=batch,
            holdout=holdout,
            precision=precision,
            learning_rate=learning_rate,
            seed=seed,
        )
        model, found = open_model(detector, weights), find_pictures([images])
        task = NetworkTraining(model, found, recipe, device)
        settings = {"task": "network", "detector": model.fingerprint.hex()}
        loop = begin(task, recipe, settings, found, out, evaluate_every=evaluate_every, minutes=minutes, resume=resume)
    finish(loop, "The model")
