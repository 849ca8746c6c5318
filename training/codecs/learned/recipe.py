"""How a learned codec is trained."""

from __future__ import annotations

from dataclasses import dataclass

from keyfpn.training.codecs.recipe import ReconstructionRecipe


@dataclass(frozen=True, kw_only=True)
class CodecRecipe(ReconstructionRecipe):
    """The choices of a learned codec's training; the defaults made the bundled one."""

    steps: int | None = 9000
    started_learning_rate: float = 5e-5
    """Of what starts near its best: the linear way and the detector's output convolutions."""
    entropy_learning_rate: float = 2e-3
    """Of the entropy model and the gains."""
    table_pictures: int = 150
    """Train pictures whose symbols are counted into the published tables, each at every quality."""

    lambda_first: float = 0.15
    """Bits per pixel that one unit of distortion is worth at quality 1."""
    lambda_ratio: float = 2.2
    """From one quality's lambda to the next."""

    def trade_off(self, quality: int) -> float:
        """Lambda of a quality, 1 to 8: the loss is rate / sqrt(lambda) + sqrt(lambda) * distortion."""
        return self.lambda_first * self.lambda_ratio ** (quality - 1)
