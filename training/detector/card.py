"""The model card of a trained detector."""

from __future__ import annotations

from dataclasses import asdict

from keyfpn.training.engine.loop import Figures

from .recipe import Recipe

_CARD = """\
# {name}

A detector trained by `keyfpn-train detector`: the moving average of the weights after {steps} steps
({minutes:.0f} minutes). `config.yaml` is its detectron2 config, `detector.safetensors` the weights (float16, BatchNorm
statistics float32), `manifest.json` the hash of each.

## Measured

COCO box AP (pycocotools, {precision}) of these files on {held_out} pictures that were held out of the training data:

| {names} |
| {rules} |
| {values} |

So few pictures tell a working training from a failed one, not one good model from another: measure on a set of its own
before you compare.

## Trained with

{trained} pictures with boxes, {batch} in a batch, and these choices:

{choices}

## Before you pass it on

Say here what the training pictures are and under which licence, and where the initial weights came from.
"""


def model_card(
    name: str,
    recipe: Recipe,
    *,
    steps: int,
    seconds: float,
    training_pictures: int,
    held_out_pictures: int,
    figures: Figures,
) -> str:
    """Write the card's text.

    Args:
        name: of the model.
        recipe: how it was trained.
        steps: taken so far.
        seconds: spent on them.
        training_pictures: trained on.
        held_out_pictures: measured on.
        figures: what was measured.
    """
    return _CARD.format(
        name=name,
        steps=steps,
        minutes=seconds / 60,
        precision=recipe.precision,
        held_out=held_out_pictures,
        names=" | ".join(figures),
        rules=" | ".join("---" for _ in figures),
        values=" | ".join("-" if value is None else f"{value:.2f}" for value in figures.values()),
        trained=training_pictures,
        batch=recipe.batch,
        choices="\n".join(f"* {key.replace('_', ' ')}: {value}" for key, value in asdict(recipe).items()),
    )
