from __future__ import annotations

import copy

import pytest
import torch

from keyfpn.reconstruct.layers import Standardize
from keyfpn.reconstruct.learned.shape import KEY_LEVELS
from keyfpn.reconstruct.learned.transforms import Analysis

CHANNELS = {level: 6 if level == "res2" else 8 for level in KEY_LEVELS}
STRIDES = {"res2": 4, "inner3": 8, "inner4": 16, "inner5": 32, "lateral3": 8, "lateral4": 16, "lateral5": 32}


@pytest.mark.parametrize("sides", [(32, 32), (96, 64)])
def test_a_folded_analysis_gives_the_same_latents(sides: tuple[int, int]) -> None:
    torch.manual_seed(0)
    analysis = Analysis(CHANNELS, hidden=(5, 6, 7), latents=(4, 3, 2))
    for level, layer in analysis.standardize.items():
        assert isinstance(layer, Standardize)
        layer.set(torch.randn(CHANNELS[level]), 0.5 + 3 * torch.rand(CHANNELS[level]))
    features = {
        level: 2 + 3 * torch.randn(1, CHANNELS[level], *(side // STRIDES[level] for side in sides))
        for level in KEY_LEVELS
    }
    folded = copy.deepcopy(analysis)
    folded.fold()
    with torch.no_grad():
        for expected, found in zip(analysis(features), folded(features), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(folded.standardize[level], Standardize) for level in ("inner3", "inner4", "inner5"))
