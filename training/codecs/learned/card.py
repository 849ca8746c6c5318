"""The model card of a learned codec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from keyfpn.detector.model import Model

from .recipe import CodecRecipe

_CARD = """\
# A learned codec

Trained by `keyfpn-train codec` for the detector in the folder above: the moving average of the weights after {steps}
steps ({minutes:.0f} minutes), on {trained} pictures without labels. {origin}

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

Where the bytes go, and what is lost: kilobytes of each latent, in brackets how many of its channels carry anything, and
each level's mean squared error by its variance.

| quality | {latents} | {levels} |
|--:|{rules}
{parts}

## Trained with

{choices}
"""


@dataclass(frozen=True)
class QualityFigures:
    """Of one quality, on held-out pictures; bits are means per picture."""

    agreement: float | None
    estimated_bits: float
    latent_bits: Sequence[float]
    """Of y0, y1, …, by the integer tables."""
    live_channels: Sequence[int]
    """Of y0, y1, …: with a symbol other than zero on any of the pictures."""
    factorized_bits: float
    level_errors: Mapping[str, float]
    """Of p2 … p5: the mean squared error, by the level's variance."""

    @property
    def bits(self) -> float:
        """Of all latents."""
        return sum(self.latent_bits)


def codec_card(
    recipe: CodecRecipe,
    figures: Sequence[QualityFigures],
    *,
    initial: Model | None,
    steps: int,
    seconds: float,
    training_pictures: int,
) -> str:
    """Write the card's text.

    Args:
        recipe: how the codec was trained.
        figures: of each quality, from the first.
        initial: the model whose codec it started from.
        steps: taken so far.
        seconds: spent on them.
        training_pictures: trained on.
    """
    origin = f"the codec of {initial.name}, fingerprint {initial.fingerprint.hex()}" if initial else "no other codec"
    return _CARD.format(
        origin=f"They started from {origin}.",
        steps=steps,
        minutes=seconds / 60,
        trained=training_pictures,
        held_out=recipe.holdout,
        precision=recipe.precision,
        rows="\n".join(_row(quality, found) for quality, found in enumerate(figures, start=1)),
        latents=" | ".join(f"y{place}" for place in range(len(figures[0].latent_bits))),
        levels=" | ".join(figures[0].level_errors),
        rules="--:|" * (len(figures[0].latent_bits) + len(figures[0].level_errors)),
        parts="\n".join(_parts(quality, found) for quality, found in enumerate(figures, start=1)),
        choices="\n".join(f"* {key.replace('_', ' ')}: {value}" for key, value in asdict(recipe).items()),
    )


def _row(quality: int, found: QualityFigures) -> str:
    agreement = "–" if found.agreement is None else f"{found.agreement:.1f}"
    kilobytes = [f"{bits / 8000:.2f}" for bits in (found.estimated_bits, found.bits, found.factorized_bits)]
    saved = f"{100 * (1 - found.bits / found.factorized_bits):.1f} %"
    return f"| {quality} | {' | '.join([agreement, *kilobytes, saved])} |"


def _parts(quality: int, found: QualityFigures) -> str:
    kilobytes = [
        f"{bits / 8000:.2f} ({channels})" for bits, channels in zip(found.latent_bits, found.live_channels, strict=True)
    ]
    errors = [f"{error:.3f}" for error in found.level_errors.values()]
    return f"| {quality} | {' | '.join([*kilobytes, *errors])} |"
