from __future__ import annotations

import pytest
import torch
from torch import Tensor

from keyfpn.protocol.geometry import Geometry

CHANNELS = 8


@pytest.fixture(scope="session")
def geometry() -> Geometry:
    """A picture of 90 x 150: padded to 96 x 160, so that p6 (2 x 3) is no exact half of p5 (3 x 5)."""
    return Geometry(network_size=(90, 150), channels=CHANNELS, size_divisibility=32)


@pytest.fixture(scope="session")
def features(geometry: Geometry) -> dict[str, Tensor]:
    """A pyramid of random features with a different scale in every channel."""
    generator = torch.Generator().manual_seed(1)
    scales = torch.linspace(0.1, 5, CHANNELS)[:, None, None]
    levels = ("p2", "p3", "p4", "p5")
    pyramid = {level: torch.randn(geometry.level_shape(level), generator=generator) * scales for level in levels}
    pyramid["p6"] = pyramid["p5"][:, ::2, ::2]  # max-pool of kernel 1 and stride 2
    return {level: feature[None].contiguous() for level, feature in pyramid.items()}
