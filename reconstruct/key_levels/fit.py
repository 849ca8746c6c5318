"""Fits the numbers of `raw` and `interpolate` to a detector's features of train pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.derive import with_derived
from keyfpn.protocol.quantization import MAX_BITS, MIN_BITS, fit_ranges

from ..interpolate.rebuilder import scale
from .parameters import Mix, Parameters

POSITIONS_PER_PICTURE = 256
"""Drawn from each level of each picture for the ranges; a level with fewer gives all it has."""


class ParameterFitter:
    """Collects features picture by picture, in bounded memory, then fits.

    Ranges: the clip per channel of least squared error, for every level and every width of 2 to 8 bits, on positions
    drawn at random. Mixes: (a, b) of ``a * up(coarser) + b * down(finer)`` by least squares over all positions, for
    every level between two equally near ones.
    """

    def __init__(self, pyramid: Pyramid, seed: int = 0) -> None:
        """Start with nothing.

        Args:
            pyramid: of the detector.
            seed: of the draw of positions.
        """
        self._pyramid = pyramid
        self._random = np.random.default_rng(seed)
        self._samples: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
        self._equations: dict[tuple[str, str, str], NDArray[np.float64]] = defaultdict(lambda: np.zeros((2, 3)))

    def add(self, features: Mapping[str, Tensor]) -> None:
        """Take one picture's true independent levels, each (1, C, h, w) float32; the others follow from them."""
        pyramid = with_derived(features, self._pyramid)
        for level in self._pyramid.levels:
            flat = pyramid[level][0].flatten(1).numpy()
            count = min(POSITIONS_PER_PICTURE, flat.shape[1])
            self._samples[level].append(flat[:, self._random.choice(flat.shape[1], count, replace=False)])
        for level, finer, coarser in _mixed_levels(self._pyramid.levels):
            self._equations[level, finer, coarser] += mix_equations(pyramid[level], pyramid[finer], pyramid[coarser])

    def fit(self) -> Parameters:
        """Fit to all pictures so far.

        Raises:
            ValueError: there was none.
        """
        if not self._samples:
            raise ValueError("expected features of at least one picture, found none")
        pooled = {level: np.concatenate(samples, axis=1) for level, samples in self._samples.items()}
        ranges = {
            (level, bits): fit_ranges(values, bits)
            for level, values in pooled.items()
            for bits in range(MIN_BITS, MAX_BITS + 1)
        }
        return Parameters(ranges, {key: solve_mix(total) for key, total in self._equations.items()})


def mix_equations(level: Tensor, finer: Tensor, coarser: Tensor) -> NDArray[np.float64]:
    """The normal equations of a level's mix in one picture; add up those of all pictures, and they weigh alike.

    Args:
        level: (1, C, h, w) float32, true.
        finer: the level to scale down, (1, C, h', w').
        coarser: the level to scale up.

    Returns:
        (2, 3) float64: the mean products of (up, down) with each other, and with the true level.
    """
    size = (level.shape[2], level.shape[3])
    sources = torch.stack([scale(coarser, size).flatten(), scale(finer, size).flatten()])
    # Sums over many positions lose digits in float32; a mean over one picture does not.
    return (sources @ torch.cat([sources, level.reshape(1, -1)]).T / level.numel()).double().numpy()


def solve_mix(equations: NDArray[np.float64]) -> Mix:
    """(a, b) of least squared error; ``equations`` are sums of :func:`mix_equations`."""
    a, b = np.linalg.lstsq(equations[:, :2], equations[:, 2], rcond=None)[0]
    return rounded_mix(a, b)


def rounded_mix(a: float, b: float) -> Mix:
    """To the four digits that settings have; no -0.0, because settings are text."""
    return round(float(a), 4) + 0.0, round(float(b), 4) + 0.0


def _mixed_levels(levels: Sequence[str]) -> list[tuple[str, str, str]]:
    """(level, finer, coarser) wherever a level lies midway between two others."""
    inner = range(1, len(levels) - 1)
    spans = [(i, d) for i in inner for d in range(1, len(levels)) if i - d >= 0 and i + d < len(levels)]
    return [(levels[i], levels[i - d], levels[i + d]) for i, d in spans]
