"""Counts the tables of a trained codec: what its symbols really do, in place of what training took them for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from keyfpn.protocol.ans import PRECISION_BITS, normalize_counts
from keyfpn.protocol.latent import LatentCoder, LatentModel
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.prior import ContextPrior, table_probabilities
from keyfpn.reconstruct.learned.shape import LATENT_STRIDES

Symbols = tuple[list[NDArray[np.int16]], int]
"""The latents of a picture, (C, h, w) each, and the quality that they were made at, from 1 on."""

LARGEST_SYMBOL = 2047
"""What lies beyond is cut off, by the edge too, so that tables stay small whatever a training came to."""
_PSEUDO_SYMBOLS = 64
"""As many symbols of the trained distribution are counted into each table, so that a rare one has its shape."""
_HEADROOM = 1.25
_FINEST_COUNT = 16


def fit_entropy_models(network: CodecNetwork, pictures: Iterable[Symbols]) -> list[LatentModel]:
    """Fit the integer entropy model of each latent.

    Args:
        network: the trained codec, for its context models.
        pictures: what it makes of train pictures, in all qualities; symbols up to :data:`LARGEST_SYMBOL`.
    """
    symbols = list(pictures)
    largest = [max(int(np.abs(latents[place]).max()) for latents, _ in symbols) for place in range(len(network.priors))]
    bounds = [min(max(8, int(_HEADROOM * symbol)), LARGEST_SYMBOL) for symbol in largest]
    histograms = [table_probabilities(bound) * _PSEUDO_SYMBOLS for bound in bounds]
    coder = LatentCoder(_models(network, [_normalized(histogram) for histogram in histograms]))
    for latents, quality in symbols:
        for histogram, bound, coded in zip(histograms, bounds, coder.coded(latents, quality), strict=True):
            places = coded.tables.astype(np.int64) * (2 * bound + 1) + coded.residuals + bound
            histogram += np.bincount(places.reshape(-1), minlength=histogram.size).reshape(histogram.shape)
    return _models(network, [_normalized(histogram) for histogram in histograms])


def _models(network: CodecNetwork, tables: Sequence[NDArray[np.uint32]]) -> list[LatentModel]:
    models = []
    for stride, prior, counts in zip(LATENT_STRIDES, network.priors, tables, strict=True):
        assert isinstance(prior, ContextPrior)
        models.append(LatentModel(stride=stride, groups=prior.groups, tables=counts, **prior.integers()))
    return models


def _normalized(histogram: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Rows of counts that sum to 2**24."""
    whole = np.rint(histogram * _FINEST_COUNT).astype(np.int64)
    return np.stack([normalize_counts(row, 1 << PRECISION_BITS) for row in whole])
