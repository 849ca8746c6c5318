from __future__ import annotations

import numpy as np
import pytest

from keyfpn.training.codecs.learned.factorized import FactorizedPrior
from keyfpn.training.codecs.learned.tables import Frame


def frames(count: int, seed: int) -> list[Frame]:
    random = np.random.default_rng(seed)
    scales = np.array([0.5, 4.0])[:, None, None]
    return [
        ([np.rint(random.laplace(size=(2, 12, 16)) * scales * quality).clip(-30, 30).astype(np.int16)], quality)
        for _ in range(count)
        for quality in (1, 2)
    ]


def test_it_knows_quality_and_channel_and_nothing_else() -> None:
    prior = FactorizedPrior(frames(200, 0), [30])
    for latents, quality in frames(20, 1):
        bits = prior.information((latents, quality))
        ideal = 0.0
        for channel in range(2):
            counts = np.bincount(latents[0][channel].reshape(-1) + 30, minlength=61)
            shares = counts[counts > 0] / counts.sum()
            ideal += float(-(counts[counts > 0] * np.log2(shares)).sum())
        assert ideal < bits < 1.25 * ideal  # no model beats the frame's own histogram, and a counted one comes near
        shuffled = np.random.default_rng(2).permuted(latents[0].reshape(2, -1), axis=1).reshape(latents[0].shape)
        assert prior.information(([shuffled], quality)) == pytest.approx(bits)


def test_symbols_beyond_the_alphabet_count_as_its_ends() -> None:
    prior = FactorizedPrior(frames(10, 0), [5])
    high, end = (np.full((2, 2, 2), value, np.int16) for value in (9, 5))
    assert prior.information(([high], 1)) == prior.information(([end], 1))
