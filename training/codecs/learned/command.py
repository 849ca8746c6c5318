"""The command `keyfpn-train codec`."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfpn.console.exits import exit_codes
from keyfpn.console.options import Detector, Device, Precision, Weights
from keyfpn.detector import BUNDLED
from keyfpn.training.codecs.recipe import DistortionWeights
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

from .recipe import CodecRecipe

# torch and detectron2 take seconds to import: what needs them is imported where it is used.

HELP = f"""Train the codec `learned` for a detector, on pictures without labels.

\b
An hour for the bundled detector, then a packet made with what came of it:
  keyfpn-train codec --images coco/train --minutes 60 --out runs/codec
  keyfpn-edge encode picture.jpg --detector runs/codec/model --codec learned:quality=5 --out packets
{RUN_HELP}"""

FeatureWeight = Annotated[float, typer.Option(min=0, help="Of the features' squared error in the distortion.")]
RpnWeight = Annotated[float, typer.Option(min=0, help="Of the RPN's view in the distortion.")]
BoxWeight = Annotated[float, typer.Option(min=0, help="Of the box head's view in the distortion.")]


def codec(
    *,
    images: Images,
    out: Run,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    init_codec: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Start from the codec of this model, of this shape or another."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help=STEPS_HELP, show_default=default_steps(CodecRecipe.steps))
    ] = None,
    minutes: Minutes = None,
    batch: Batch = CodecRecipe.batch,
    holdout: Holdout = CodecRecipe.holdout,
    evaluate_every: EvaluateEvery = 1500,
    device: Device = "cpu",
    precision: Precision = CodecRecipe.precision,
    learning_rate: LearningRate = CodecRecipe.learning_rate,
    feature_weight: FeatureWeight = DistortionWeights.feature,
    rpn_weight: RpnWeight = DistortionWeights.rpn,
    box_weight: BoxWeight = DistortionWeights.box,
    seed: Seed = CodecRecipe.seed,
    resume: Resume = False,
) -> None:
    """Train the learned codec; registered with :data:`HELP`."""
    with exit_codes():
        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .training import CodecTraining

        recipe = CodecRecipe(
            steps=steps_or(CodecRecipe.steps, steps, minutes),
            batch=batch,
            holdout=holdout,
            precision=precision,
            learning_rate=learning_rate,
            weights=DistortionWeights(feature_weight, rpn_weight, box_weight),
            seed=seed,
        )
        model, found = open_model(detector, weights), find_pictures([images])
        initial = open_model(init_codec) if init_codec else None
        task = CodecTraining(model, found, recipe, initial, device)
        if task.not_taken:
            typer.echo(f"{init_codec} has no weights of their size for: {', '.join(task.not_taken)}", err=True)
        settings = {
            "task": "codec",
            "detector": model.fingerprint.hex(),
            "init_codec": initial and initial.fingerprint.hex(),
        }
        loop = begin(task, recipe, settings, found, out, evaluate_every=evaluate_every, minutes=minutes, resume=resume)
    finish(loop, "The model")
