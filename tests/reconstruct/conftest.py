"""A small pyramid of random features, and models of it that need no network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.key_levels.fit import ParameterFitter
from tests.reconstruct.models import CHANNELS, bare, published


@pytest.fixture(scope="session")
def geometry() -> Geometry:
    """A picture of 90 x 150: padded to 96 x 160, so that p6 (2 x 3) is no exact half of p5 (3 x 5)."""
    return Geometry(network_size=(90, 150), channels=CHANNELS, size_divisibility=32)


@pytest.fixture(scope="session")
def pyramid() -> Pyramid:
    """Of the features below."""
    return Pyramid(channels=CHANNELS, independent=("p2", "p3", "p4", "p5"))


@pytest.fixture(scope="session")
def features(geometry: Geometry) -> dict[str, Tensor]:
    """A pyramid of random features with a different scale in every channel."""
    generator = torch.Generator().manual_seed(1)
    scales = torch.linspace(0.1, 5, CHANNELS)[:, None, None]
    levels = ("p2", "p3", "p4", "p5")
    pyramid = {level: torch.randn(geometry.level_shape(level), generator=generator) * scales for level in levels}
    pyramid["p6"] = pyramid["p5"][:, ::2, ::2]  # max-pool of kernel 1 and stride 2
    return {level: feature[None].contiguous() for level, feature in pyramid.items()}


@pytest.fixture(scope="session")
def bare_model(pyramid: Pyramid) -> Model:
    """A detector without fitted parameters."""
    return bare(pyramid)


@pytest.fixture(scope="session")
def fitted_model(tmp_path_factory: pytest.TempPathFactory, pyramid: Pyramid, features: dict[str, Tensor]) -> Model:
    """A model folder whose ranges and mixes were fitted to `features`."""
    fitter = ParameterFitter(pyramid)
    fitter.add(features)
    return published(tmp_path_factory.mktemp("models") / "fitted", fitter.fit())
