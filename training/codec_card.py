"""The model card of a learned codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .reconstruction_recipe import CodecRecipe

_CARD = """\
# A learned codec

Trained by `keyfpn-train codec` for the detector in the folder above: the moving average of the weights after {steps}
steps ({minutes:.0f} minutes), on {trained} pictures without labels.

| file | what it is | needed by |
|---|---|---|
| `codec.json` | the sizes of all parts | both |
| `entropy.safetensors` | integer tables and context model of each latent | both |
| `analysis.safetensors` | analysis and gains, float16 | the edge |
| `synthesis.safetensors` | synthesis and inverse gains, float16 | the server |

## Measured

On {held_out} pictures held out of the training, {precision}. Agreement is AP against the unsplit detector's own boxes.
Kilobytes per picture: as training estimates them, as the integer tables code them, and as tables without context would,
one for each quality and channel.

| quality | agreement | estimated kB | kB | factorized kB | saved by context |
|--:|--:|--:|--:|--:|--:|
{rows}

## Trained with

{choices}
"""


@dataclass(frozen=True)
class QualityFigures:
    """Of one quality, on held-out pictures; bits are means per picture."""

    agreement: float | None
    estimated_bits: float
    bits: float
    factorized_bits: float


def codec_card(
    recipe: CodecRecipe,
    figures: Sequence[QualityFigures],
    *,
    steps: int,
    seconds: float,
    training_pictures: int,
) -> str:
    """Write the card's text.

    Args:
        recipe: how the codec was trained.
        figures: of each quality, from the first.
        steps: taken so far.
        seconds: spent on them.
        training_pictures: trained on.
    """
    return _CARD.format(
        steps=steps,
        minutes=seconds / 60,
        trained=training_pictures,
        held_out=recipe.holdout,
        precision=recipe.precision,
        rows="\n".join(_row(quality, found) for quality, found in enumerate(figures, start=1)),
        choices="\n".join(f"* {key.replace('_', ' ')}: {value}" for key, value in asdict(recipe).items()),
    )


def _row(quality: int, found: QualityFigures) -> str:
    agreement = "–" if found.agreement is None else f"{found.agreement:.1f}"
    kilobytes = [f"{bits / 8000:.2f}" for bits in (found.estimated_bits, found.bits, found.factorized_bits)]
    saved = f"{100 * (1 - found.bits / found.factorized_bits):.1f} %"
    return f"| {quality} | {' | '.join([agreement, *kilobytes, saved])} |"
