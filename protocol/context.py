"""Which table a symbol of a latent gets: a context model in integers.

    activities of what is ──► weights, bias ──► total ──► clip(total >> 6, 0, K - 1) = index of the table
    decoded already

The activity of a symbol is the number of bits of |y|: the tables' scales grow geometrically with their index, so that
what the index is a sum of should grow with the logarithm of the symbols.

A latent is coded channel group by channel group, and a group in two passes: the positions (i, j) with i + j even, then
the odd ones. Everything of a pass depends only on what was decoded before it, so that it is computed at once.
`docs/wire-format.md` gives the order and the sums exactly.

Sources: D. He et al., Checkerboard context model for efficient learned image compression, arXiv 2103.15306; D. He et
al., ELIC, arXiv 2203.10886 (unevenly grouped channels). There a network gives means and scales in floats; here it is
one integer layer that gives the index of a table, so that machines with different float hardware agree.
"""

from collections.abc import Iterator
from itertools import accumulate, product

import numpy as np
from numpy.typing import NDArray

ACTIVITY_MAX = 8
INDEX_SHIFT = 6
MAX_TABLES = 256
_EXACT = 1 << 24  # float32 holds every integer below this
_NEIGHBOURHOOD = tuple(product(range(3), range(3)))
# All that is known of a position's own group in the second pass: the other neighbours have the parity of the position.
_DIRECT_NEIGHBOURS = tuple((di, dj) for di, dj in _NEIGHBOURHOOD if (di + dj) % 2)

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Where = tuple[slice, NDArray[np.intp]]


class Context:
    """The context model of one latent of C channels.

    The sums run as float32 matrix products. That is exact, in any order of summation and on any hardware, as long as
    every partial sum is an integer below 2**24 in magnitude. A model that could reach it is refused.

    Args:
        groups: channels per channel group, in coding order; their sum is C.
        bias: (Q, 2, C) int32: quality, pass, channel.
        kernels: per group g, int8 (c_g, c_0 + ... + c_g, 3, 3): weights of the 3 x 3 neighbourhood in the channels of
            the earlier groups and of its own.
        coarse: int8 (C, C of the coarser latent), weights of the one position there that covers this one; None for the
            coarsest latent.
        table_count: K, 1 to 256.

    Raises:
        ValueError: arrays of other shapes or types, or so large that sums could reach 2**24.
    """

    def __init__(
        self,
        groups: tuple[int, ...],
        bias: NDArray[np.int32],
        kernels: tuple[NDArray[np.int8], ...],
        coarse: NDArray[np.int8] | None,
        table_count: int,
    ) -> None:
        if not groups or min(groups) < 1 or len(kernels) != len(groups):
            raise ValueError(
                f"channel groups: expected one or more of at least 1 channel, and a kernel for each, found {groups} "
                f"and {len(kernels)} kernels"
            )
        ends = tuple(accumulate(groups))
        qualities = len(bias) if bias.ndim else 0
        check_array("bias", bias, np.int32, (max(qualities, 1), 2, ends[-1]))
        for group, (size, end, kernel) in enumerate(zip(groups, ends, kernels, strict=True)):
            check_array(f"kernel of channel group {group}", kernel, np.int8, (size, end, 3, 3))
        if coarse is not None:
            check_array("coarse weights", coarse, np.int8, (ends[-1], coarse.shape[-1] if coarse.ndim else 1))
        _check_exact(bias, kernels, coarse)
        self._groups = tuple(slice(end - size, end) for size, end in zip(groups, ends, strict=True))
        self._bias = bias.astype(np.float32)
        self._weights = tuple(
            (_matrix(kernel[:, : group.start], _NEIGHBOURHOOD), _matrix(kernel[:, group.start :], _DIRECT_NEIGHBOURS))
            for kernel, group in zip(kernels, self._groups, strict=True)
        )
        self._coarse = None if coarse is None else coarse.astype(np.float32)
        self._last_table = table_count - 1

    def passes(
        self, latent: Int32, quality: int, coarser: Int32 | None, ratio: int
    ) -> Iterator[tuple[Where, NDArray[np.uint8]]]:
        """The passes over a latent, in coding order.

        The symbols of a pass, `latent.reshape(C, -1)[where]`, are read when the next one is asked for: an encoder hands
        over the whole latent, a decoder fills in each pass before it goes on.

        Args:
            latent: (C, h, w).
            quality: 1 to Q.
            coarser: the coarser latent, complete; None for the coarsest.
            ratio: the coarser latent's stride divided by this one's.

        Yields:
            where: index of the pass's symbols in the latent of shape (C, h * w).
            indices: uint8, (channels of the group, positions of the pass).
        """
        known = _Activities(latent.shape)
        checkerboard = [(positions, known.places(positions)) for positions in _by_parity(*latent.shape[1:])]
        from_coarser = self._from_coarser(latent.shape, coarser, ratio)
        for group, (before, own) in zip(self._groups, self._weights, strict=True):
            total = from_coarser[group] + before @ known.around(slice(0, group.start), _NEIGHBOURHOOD)
            for parity, (positions, places) in enumerate(checkerboard):
                if parity == 1:
                    total += own @ known.around(group, _DIRECT_NEIGHBOURS)
                sums = total.take(places, axis=1) + self._bias[quality - 1, parity, group, None]
                yield (group, positions), self._tables(sums)
                # After the first pass with the odd positions, known or not: they reach sums of even ones alone.
                known.planes[group] = _activity(latent[group])

    def _tables(self, sums: Float32) -> NDArray[np.uint8]:
        """clip(sums >> INDEX_SHIFT, 0, K - 1); `sums` is overwritten. A power of two divides exactly."""
        sums *= np.float32(1 / (1 << INDEX_SHIFT))
        return np.clip(sums, 0, self._last_table, out=sums).astype(np.uint8)

    def _from_coarser(self, shape: tuple[int, ...], coarser: Int32 | None, ratio: int) -> Float32:
        """What the coarser latent adds to the sums of a latent of `shape`, (C, places); broadcasts to it."""
        channels, height, width = shape
        if self._coarse is None or coarser is None:
            return np.zeros((channels, 1), dtype=np.float32)
        sums: Float32 = np.tensordot(self._coarse, _activity(coarser), 1)
        columns = np.minimum(np.arange(width + 1), width - 1) // ratio
        sums = sums.take(np.arange(height) // ratio, axis=1).take(columns, axis=2)
        return sums.reshape(channels, -1)


class _Activities:
    """Activities with zeros around, so that a neighbour is a shift of the flat array.

    A row is followed by one zero, which also stands to the left of the next; a row of zeros lies above and below. The
    places of a plane are its positions and that zero, row by row: h * (w + 1).

    Attributes:
        planes: (C, h, w), a view of the flat array.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        channels, height, width = shape
        self._row = width + 1
        self._places = height * self._row
        self._flat = np.zeros((channels, self._places + 2 * self._row + 2), dtype=np.float32)
        inside = self._flat[:, self._row + 1 :][:, : self._places]
        self.planes = inside.reshape(channels, height, self._row)[:, :, :-1]

    def places(self, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of positions, row by row."""
        return positions + positions // (self._row - 1)

    def around(self, channels: slice, neighbours: tuple[tuple[int, int], ...]) -> Float32:
        """(neighbours * channels, places): the activities around each place, as the columns of one matrix."""
        starts = [di * self._row + dj for di, dj in neighbours]
        columns: Float32 = np.concatenate([self._flat[channels, start : start + self._places] for start in starts])
        return columns


def _by_parity(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions (i, j), counted row by row, with i + j even, and those with i + j odd."""
    parities = np.add.outer(np.arange(height), np.arange(width)) % 2
    return np.flatnonzero(parities == 0), np.flatnonzero(parities == 1)


def _matrix(kernel: NDArray[np.int8], neighbours: tuple[tuple[int, int], ...]) -> Float32:
    """(c, neighbours * channels) of a (c, channels, 3, 3) kernel, in the order of `_Activities.around`."""
    taps = [kernel[:, :, di, dj] for di, dj in neighbours]
    matrix: Float32 = np.concatenate(taps, axis=1).astype(np.float32, order="C")
    return matrix


def check_array(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Raises ValueError unless the array has that type and shape."""
    if array.dtype != dtype or array.shape != shape:
        expected = np.dtype(dtype)
        raise ValueError(f"{name}: expected {expected} of shape {shape}, found {array.dtype} of shape {array.shape}")


def _check_exact(
    bias: NDArray[np.int32], kernels: tuple[NDArray[np.int8], ...], coarse: NDArray[np.int8] | None
) -> None:
    weights = np.concatenate([np.abs(kernel.astype(np.int64)).sum(axis=(1, 2, 3)) for kernel in kernels])
    if coarse is not None:
        weights += np.abs(coarse.astype(np.int64)).sum(axis=1)
    largest = np.abs(bias.astype(np.int64)).max(axis=(0, 1)) + ACTIVITY_MAX * weights
    channel = int(largest.argmax())
    if largest[channel] >= _EXACT:
        raise ValueError(
            f"context sums of channel {channel}: expected |bias| + {ACTIVITY_MAX} * sum |weights| below 2**24, "
            f"found {largest[channel]}"
        )


def _activity(latent: Int32) -> Float32:
    """min(bits of |y|, ACTIVITY_MAX)."""
    # The exponent of a float32; the integers are exact in it below 2**24, and cut off long before.
    exponents = np.abs(latent).astype(np.float32).view(np.int32) >> 23
    return np.clip(exponents - 126, 0, ACTIVITY_MAX).astype(np.float32)
