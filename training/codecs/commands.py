"""The commands of `keyfpn-train` that train what rebuilds pyramids: `codec` and `network`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from keyfpn.detector import BUNDLED
from keyfpn.training.options import (
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

from .recipe import CodecRecipe, DistortionWeights, ReconstructionRecipe

# torch and detectron2 take seconds to import: what needs them is imported where it is used.
if TYPE_CHECKING:
    from keyfpn.training.engine.loop import Task

CodecSteps, NetworkSteps = steps_option(CodecRecipe.steps), steps_option(ReconstructionRecipe.steps)
LearningRate = Annotated[float, typer.Option(min=0, help="Of the networks.")]
FeatureWeight = Annotated[float, typer.Option(min=0, help="Of the features' squared error in the distortion.")]
RpnWeight = Annotated[float, typer.Option(min=0, help="Of the RPN's view in the distortion.")]
BoxWeight = Annotated[float, typer.Option(min=0, help="Of the box head's view in the distortion.")]

_RUN_HELP = """
\b
The folder of the run gets
  log.jsonl      losses and learning rate of each step, figures of each evaluation
  loss.png       the same, drawn
  checkpoint.pt  every two minutes and at the end
  settings.json  the recipe, and the hashes of detector and pictures' names
  model/         the detector with what was trained, ready to be run

The learning rate falls over the last quarter of the run's --steps or --minutes, whichever end first. A run may be
resumed with more of either, as long as its learning rate does not fall yet.
Agreement is AP against the unsplit detector's own boxes, on pictures held out of training. Ctrl-C ends the run with a
checkpoint; the same command with --resume goes on.

Exit codes: 0 done; 2 wrong usage, or training cannot go on; 130 interrupted.
"""

CODEC_HELP = f"""Train the codec `learned` for a detector, on pictures without labels.

\b
An hour for the bundled detector, then a packet made with what came of it:
  keyfpn-train codec --images coco/train --minutes 60 --out runs/codec
  keyfpn-edge encode picture.jpg --detector runs/codec/model --codec learned:quality=5 --out packets
{_RUN_HELP}"""


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
    steps: CodecSteps = None,
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
    """Train the learned codec; registered with :data:`CODEC_HELP`."""
    with user_errors():
        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .learned.training import CodecTraining

        recipe = CodecRecipe(
            steps=steps_or(CodecRecipe.steps, steps, minutes),
            batch=batch,
            holdout=holdout,
            precision=precision,
            learning_rate=learning_rate,
            weights=DistortionWeights(feature_weight, rpn_weight, box_weight),
            seed=seed,
        )
        model, pictures = open_model(detector, weights, device=device), find_pictures([images])
        initial = open_model(init_codec) if init_codec else None
        settings = {
            "task": "codec",
            "detector": model.fingerprint.hex(),
            "init_codec": initial and initial.fingerprint.hex(),
            **hashes("\n".join(path.name for path in pictures), {}),
        }
        task = CodecTraining(model, pictures, recipe, initial)
        if task.started_anew:
            typer.echo(f"{init_codec} has no weights of their size for: {', '.join(task.started_anew)}", err=True)
        _run(task, recipe, settings, out, evaluate_every=evaluate_every, minutes=minutes, resume=resume)


NETWORK_HELP = f"""Train the network of the codec `network`, which rebuilds missing levels from sent ones.

One network serves all sets of key levels. Pictures need no labels.

\b
Twenty minutes for the bundled detector, then a packet of p3 and p5 for it:
  keyfpn-train network --images coco/train --minutes 20 --out runs/network
  keyfpn-edge encode picture.jpg --detector runs/network/model --codec network:levels=p3+p5 --out packets
{_RUN_HELP}"""


def network(
    *,
    images: Images,
    out: Run,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    steps: NetworkSteps = None,
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
    """Train the reconstruction network; registered with :data:`NETWORK_HELP`."""
    with user_errors():
        from keyfpn.detector.model import open_model
        from keyfpn.detector.prepare import find_pictures

        from .network.training import NetworkTraining

        recipe = ReconstructionRecipe(
            steps=steps_or(ReconstructionRecipe.steps, steps, minutes),
            batch=batch,
            holdout=holdout,
            precision=precision,
            learning_rate=learning_rate,
            seed=seed,
        )
        model, pictures = open_model(detector, weights, device=device), find_pictures([images])
        settings = {
            "task": "network",
            "detector": model.fingerprint.hex(),
            **hashes("\n".join(path.name for path in pictures), {}),
        }
        task = NetworkTraining(model, pictures, recipe)
        _run(task, recipe, settings, out, evaluate_every=evaluate_every, minutes=minutes, resume=resume)


def _run(
    task: Task[Any],
    recipe: ReconstructionRecipe,
    settings: dict[str, Any],
    out: Path,
    *,
    evaluate_every: int,
    minutes: float | None,
    resume: bool,
) -> None:
    import torch

    from keyfpn.training.engine.loop import MODEL, TrainingLoop

    torch.set_flush_denormal(True)  # gradients of rare symbols are denormal, and several times slower on CPUs
    loop = TrainingLoop(
        task,
        out,
        settings | {name: value for name, value in asdict(recipe).items() if name != "steps"},
        steps=recipe.steps,
        minutes=minutes,
        batch=recipe.batch,
        seed=recipe.seed,
        evaluate_every=evaluate_every,
        console=Console(stderr=True),
    )
    ending = loop.run(resume=resume)
    say_ending(ending, task.state.step, f"The model is in {out / MODEL}.")
