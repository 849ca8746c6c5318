"""Random models of latents, and latents to code with them."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.latent import LatentCoder, LatentModel
from tests.protocol.integer_decoder import LatentTables


@dataclass
class Case:
    """A frame's latents with all that it takes to code them."""

    models: list[LatentModel]
    geometry: Geometry
    quality: int
    latents: tuple[NDArray[np.int32], ...]

    @property
    def coder(self) -> LatentCoder:
        """Of the models."""
        return LatentCoder(self.models)


@st.composite
def cases(draw: st.DrawFn, max_cells: int = 9) -> Case:
    """1 to 3 latents of 1 to 4 channel groups, the finest of at most `max_cells` cells a side."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    qualities = draw(st.integers(1, 3))
    ratios = draw(st.lists(st.integers(2, 4), max_size=2))
    strides = list(accumulate([draw(st.sampled_from([1, 2, 8])), *ratios], int.__mul__))[::-1]
    sides = st.integers(1, max_cells * strides[-1])
    geometry = Geometry(
        network_size=(draw(sides), draw(sides)), channels=1, size_divisibility=draw(st.sampled_from([0, strides[-1]]))
    )
    models: list[LatentModel] = []
    for stride in strides:
        groups = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
        tables = draw(st.sampled_from([1, 2, 7, 32, 64])), 2 * draw(st.sampled_from([1, 2, 20, 300])) + 1
        models.append(random_model(random, stride, groups, qualities, tables, models[-1].channels if models else None))
    shapes = LatentCoder(models).shapes(geometry)
    latents = tuple(map(lambda model, shape: random_latent(random, model, shape), models, shapes))
    return Case(models, geometry, draw(st.integers(1, qualities)), latents)


def random_model(
    random: np.random.Generator,
    stride: int,
    groups: tuple[int, ...],
    qualities: int,
    tables: tuple[int, int],
    coarse_channels: int | None,
) -> LatentModel:
    """A model whose sums reach most of its tables, from peaked to flat; `tables`: (K, 2M + 1)."""
    scales, length = tables
    distance = np.abs(np.arange(length) - length // 2)
    phase, scale = np.divmod(np.arange(4 * scales), scales)
    spread = (scale + 1)[:, None] * 4 / scales + phase[:, None] / 10
    histograms = (1000 * np.exp(-distance / spread)).astype(np.int64)
    weights = lambda *shape: random.integers(-30 - 2 * scales, 40 + 4 * scales, shape).clip(-128, 127).astype(np.int8)
    return LatentModel(
        stride=stride,
        groups=groups,
        tables=np.stack([ans.normalize_counts(histogram, 1 << 24) for histogram in histograms]),
        bias=random.integers(-128, 128 * scales, (qualities, 2, sum(groups))).astype(np.int32),
        kernels=tuple(weights(size, end, 3, 3) for size, end in zip(groups, accumulate(groups), strict=True)),
        coarse=None if coarse_channels is None else weights(sum(groups), coarse_channels),
        prediction=random.integers(-128, 128, (qualities, sum(groups), 4)).astype(np.int8),
    )


def random_latent(random: np.random.Generator, model: LatentModel, shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Small symbols and a few large ones, in the model's range."""
    symbols = np.rint(random.laplace(0, random.choice([0.3, 2, 100]), shape))
    return symbols.clip(-model.max_symbol, model.max_symbol).astype(np.int32)


def plain(model: LatentModel) -> LatentTables:
    """The model as nested lists of Python's own integers."""
    return LatentTables(
        stride=model.stride,
        groups=list(model.groups),
        tables=model.tables.tolist(),
        bias=model.bias.tolist(),
        kernels=[kernel.tolist() for kernel in model.kernels],
        coarse=None if model.coarse is None else model.coarse.tolist(),
        prediction=model.prediction.tolist(),
    )
