"""What the commands that train reconstruction networks share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyfpn.console.progress import errors
from keyfpn.training.run import RUN_EXIT_CODES, hashes

from .recipe import ReconstructionRecipe

# torch and detectron2 take seconds to import: what needs them is imported where it is used.
if TYPE_CHECKING:
    from torch import Tensor

    from keyfpn.training.engine.checkpoint import Settings
    from keyfpn.training.engine.loop import Task, TrainingLoop

LearningRate = Annotated[float, typer.Option(min=0, help="Of the networks.")]

RUN_HELP = f"""
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

{RUN_EXIT_CODES}
"""


def begin(
    task: Task[Tensor],
    recipe: ReconstructionRecipe,
    settings: Settings,
    pictures: list[Path],
    out: Path,
    *,
    evaluate_every: int,
    minutes: float | None,
    resume: bool,
) -> TrainingLoop[Tensor]:
    """Begin the run of a training, or go on with it.

    Args:
        task: the training.
        recipe: how to train; part of the run's settings, apart from the steps.
        settings: what else a resumed run must share with its beginning.
        pictures: trained on and held out; their names are part of the settings.
        out: the run's folder.
        evaluate_every: steps from one evaluation to the next.
        minutes: of the whole run.
        resume: go on from the folder's checkpoint.

    Raises:
        TrainingError: as :class:`~keyfpn.training.engine.loop.TrainingLoop` does.
    """
    import torch

    from keyfpn.training.engine.loop import Schedule, TrainingLoop

    torch.set_flush_denormal(True)  # gradients of rare symbols are denormal, and several times slower on CPUs
    names = hashes("\n".join(path.name for path in pictures), {})
    choices = {name: value for name, value in asdict(recipe).items() if name != "steps"}
    return TrainingLoop(
        task,
        out,
        {**settings, **names, **choices},
        Schedule(recipe.steps, minutes, recipe.batch, recipe.seed, evaluate_every),
        resume=resume,
        console=errors(),
    )
