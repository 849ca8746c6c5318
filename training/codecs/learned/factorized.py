"""A factorized entropy model: what the context model's bits are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .tables import Frame

_PSEUDO_COUNT = 0.02
"""Of every symbol of the alphabet, so that none is impossible."""


class FactorizedPrior:
    """One histogram for each quality, latent and channel (the factorized prior of arXiv 1802.01436, counted)."""

    def __init__(self, frames: Sequence[Frame], bounds: Sequence[int]) -> None:
        """Count the symbols of train pictures.

        Args:
            frames: latents and qualities.
            bounds: M of each latent: its alphabet is -M to M.
        """
        self._bounds = bounds
        counts: dict[tuple[int, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros(0))
        for latents, quality in frames:
            for place, latent in enumerate(latents):
                found = self._histogram(latent, place)
                counts[place, quality] = counts[place, quality] + found if (place, quality) in counts else found
        self._bits = {
            key: -np.log2((count + _PSEUDO_COUNT) / (count + _PSEUDO_COUNT).sum(1, keepdims=True))
            for key, count in counts.items()
        }

    def information(self, frame: Frame) -> float:
        """Bits of a frame's symbols."""
        latents, quality = frame
        return float(
            sum(
                (self._bits[place, quality] * self._histogram(latent, place)).sum()
                for place, latent in enumerate(latents)
            )
        )

    def _histogram(self, latent: NDArray[np.int16], place: int) -> NDArray[np.float64]:
        """(C, 2M + 1)."""
        bound = self._bounds[place]
        size = 2 * bound + 1
        symbols = latent.reshape(len(latent), -1).astype(np.int64).clip(-bound, bound) + bound
        places = symbols + size * np.arange(len(latent))[:, None]
        return np.bincount(places.reshape(-1), minlength=size * len(latent)).reshape(len(latent), size).astype(float)
