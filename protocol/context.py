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
Where = tuple[slice, NDArray[np.intp], NDArray[np.intp]]


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
        # Neighbour by neighbour, each a matrix for BLAS.
        self._taps = tuple(kernel.transpose(2, 3, 0, 1).astype(np.float32, order="C") for kernel in kernels)
        self._coarse = None if coarse is None else coarse.astype(np.float32)
        self._last_table = table_count - 1

    def passes(
        self, latent: Int32, quality: int, coarser: Int32 | None, ratio: int
    ) -> Iterator[tuple[Where, NDArray[np.uint8]]]:
        """The passes over a latent, in coding order.

        The symbols of a pass, `latent[where]`, are read when the next one is asked for: an encoder hands over the whole
        latent, a decoder fills in each pass before it goes on.

        Args:
            latent: (C, h, w).
            quality: 1 to Q.
            coarser: the coarser latent, complete; None for the coarsest.
            ratio: the coarser latent's stride divided by this one's.

        Yields:
            where: index of the pass's symbols in the latent.
            indices: uint8 of the shape of `latent[where]`, (channels of the group, positions of the pass).
        """
        channels, height, width = latent.shape
        known = _Activities(channels, height, width)
        parities = np.add.outer(np.arange(height), np.arange(width)) % 2
        positions = (np.nonzero(parities == 0), np.nonzero(parities == 1))
        from_coarser = self._from_coarser(latent.shape, coarser, ratio)
        for group, taps in zip(self._groups, self._taps, strict=True):
            total = known.sums(taps, slice(0, group.start), _NEIGHBOURHOOD) + from_coarser[group]
            for parity, (rows, columns) in enumerate(positions):
                if parity == 1:
                    total += known.sums(taps, group, _DIRECT_NEIGHBOURS)
                sums = total[:, rows, columns] + self._bias[quality - 1, parity, group, None]
                indices = np.clip(sums.astype(np.int32) >> INDEX_SHIFT, 0, self._last_table).astype(np.uint8)
                yield (group, rows, columns), indices
                # After the first pass with the odd positions, known or not: they reach sums of even ones alone.
                known.planes[group] = _activity(latent[group])

    def _from_coarser(self, shape: tuple[int, ...], coarser: Int32 | None, ratio: int) -> Float32:
        """What the coarser latent adds to the sums of a latent of `shape`; broadcasts to it."""
        channels, height, width = shape
        if self._coarse is None or coarser is None:
            return np.zeros((channels, 1, 1), dtype=np.float32)
        sums: Float32 = np.tensordot(self._coarse, _activity(coarser), 1)
        return sums.take(np.arange(height) // ratio, axis=1).take(np.arange(width) // ratio, axis=2)


class _Activities:
    """Activities with zeros around, so that a neighbour is a shift of the flat array.

    A row is followed by one zero, which also stands to the left of the next; a row of zeros lies above and below.

    Attributes:
        planes: (C, h, w), a view of the flat array.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._row = width + 1
        self._shape = (height, width)
        self._flat = np.zeros((channels, (height + 2) * self._row + 2), dtype=np.float32)
        self.planes = self._inner(self._flat[:, self._row + 1 :][:, : height * self._row])

    def sums(self, taps: Float32, channels: slice, neighbours: tuple[tuple[int, int], ...]) -> Float32:
        """(c, h, w) sums over `channels` and `neighbours` with the weights `taps`, (3, 3, c, all channels so far)."""
        length = self._shape[0] * self._row
        total = np.zeros((taps.shape[2], length), dtype=np.float32)
        if channels.stop > channels.start:
            for di, dj in neighbours:
                start = di * self._row + dj
                total += taps[di, dj, :, channels] @ self._flat[channels, start : start + length]
        return self._inner(total)

    def _inner(self, flat: Float32) -> Float32:
        return flat.reshape(len(flat), self._shape[0], self._row)[:, :, :-1]


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
    bits = np.frexp(np.abs(latent).astype(np.float32))[1]  # exact below 2**24, and cut off long before
    activity: Float32 = np.minimum(bits, ACTIVITY_MAX).astype(np.float32)
    return activity
