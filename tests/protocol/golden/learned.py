"""The latents of the golden packet `learned`, and the model that codes them. All of it is integer arithmetic."""

import numpy as np
from numpy.typing import NDArray

from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.latent import LatentCoder, LatentModel

# Not padded, so that sides are no multiples of each other: 3 x 2, 5 x 3 and 18 x 11.
GEOMETRY = Geometry(network_size=(70, 41), channels=2, size_divisibility=0)
STRIDES = (32, 16, 4)
GROUPS = ((3,), (1, 3), (1, 1))
SCALES = (4, 6, 7)
MAX_SYMBOLS = (300, 3, 1)  # the first reaches beyond the largest activity
QUALITIES = 4


def model(index: int) -> LatentModel:
    """The entropy model of latent `index`."""
    groups, channels = GROUPS[index], sum(GROUPS[index])
    return LatentModel(
        stride=STRIDES[index],
        groups=groups,
        tables=_tables(SCALES[index], MAX_SYMBOLS[index]),
        bias=_weights(40 + 120 * index, QUALITIES, 2, channels).astype(np.int32),
        kernels=tuple(
            _weights(22 + group + 20 * index, size, sum(groups[: group + 1]), 3, 3).astype(np.int8)
            for group, size in enumerate(groups)
        ),
        coarse=_weights(26, channels, sum(GROUPS[index - 1])).astype(np.int8) if index else None,
        prediction=_weights(40, QUALITIES, channels, 4).astype(np.int8),
    )


def latent(index: int) -> NDArray[np.int32]:
    """(C, h, w) of `GEOMETRY`: zeros for the most part, and symbols up to the largest of either sign."""
    channel, y, x = np.indices((sum(GROUPS[index]), *GEOMETRY.cells(STRIDES[index])))
    bound = MAX_SYMBOLS[index]
    symbols = (7 * channel + 5 * y + 3 * x + x * y * y + x * x) % (2 * bound + 1) - bound
    return np.where((x + 2 * y + channel + x * y) % 4 == 0, symbols, 0).astype(np.int32)


def _tables(scales: int, bound: int) -> NDArray[np.uint32]:
    """Rows ever flatter, in each of four phases; the later the phase, the more positive residuals."""
    phase, scale, symbol = np.indices((4, scales, 2 * bound + 1))
    tables = (1 << 21) // (1 + 9 * abs(symbol - bound) // (scale + 1)) + 1000 * phase * (symbol > bound)
    tables[:, :, bound] += (1 << 24) - tables.sum(axis=2)
    return tables.reshape(-1, 2 * bound + 1).astype(np.uint32)


def _weights(scale: int, *shape: int) -> NDArray[np.int64]:
    """From about -scale to 2 * scale."""
    position = np.arange(np.prod(shape)).reshape(shape)
    return (position * position * 7 + position * 3) % (3 * scale) - scale


CODER = LatentCoder([model(index) for index in range(len(STRIDES))])
LATENTS = tuple(latent(index) for index in range(len(STRIDES)))
