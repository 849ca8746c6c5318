"""What is known of a symbol of a latent before it is coded: a context model in integers.

    activities of what is ──► weights, bias ──► total ──► clip(total >> 7, 0, K - 1) = scale ─┐
    decoded already                                                                           ├─► table
    the four neighbours ────► weights ────────► prediction ──► fraction, one of 4 phases ─────┘
                                                          └──► whole number ──► taken off the symbol

The activity of a symbol is the number of bits of |y|: the scales of the tables grow geometrically with their number, so
that what the number is a sum of should grow with the logarithm of the symbols. The prediction is a linear one, of the
symbols' values; positions of the first pass have no neighbours, and a prediction of 0.

A latent is coded channel group by channel group, and a group in two passes: the positions (i, j) with i + j even, then
the odd ones. Everything of a pass depends only on what was decoded before it, so that it is computed at once.
`docs/wire-format.md` gives the order and the sums exactly.

Sources: D. He et al., Checkerboard context model for efficient learned image compression, arXiv 2103.15306; D. He et
al., ELIC, arXiv 2203.10886 (unevenly grouped channels). There a network gives means and scales in floats; here one
integer layer gives each, so that machines with different float hardware agree. Residuals wrap around as in lossless
JPEG (ITU-T T.81, H.1.2.1), so that every symbol has one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

ACTIVITY_MAX = 8
SCALE_SHIFT = 7
PREDICTION_SHIFT = 7
PHASES = 4
"""Tables of each scale: by the prediction's distance from a whole number, 0 to 1/2, in steps of 1/8."""
MAX_TABLES = 256
_PHASE_SHIFT = PREDICTION_SHIFT - 3
_ONE, _HALF = 1 << PREDICTION_SHIFT, 1 << PREDICTION_SHIFT - 1
_EXACT = 1 << 24  # float32 holds every integer below this
_NEIGHBOURHOOD = tuple(product(range(3), range(3)))
# All that is known of a position's own group in the second pass: the other neighbours have the parity of the position.
_DIRECT_NEIGHBOURS = tuple((di, dj) for di, dj in _NEIGHBOURHOOD if (di + dj) % 2)

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Where = tuple[slice, NDArray[np.intp]]
Number = TypeVar("Number", np.float32, np.int32)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a pass's symbols are expected to be: nearest whole numbers, and on which side of them."""

    whole: Int32
    mirrored: Int32
    """-1 where the expected number is below the whole one, 0 elsewhere."""

    def residuals(self, symbols: Int32, bound: int) -> Int32:
        """What is coded in place of symbols, both from -bound to bound."""
        return _mirrored(_wrapped(symbols - self._whole_within(bound), bound), self.mirrored)

    def symbols(self, residuals: Int32, bound: int) -> Int32:
        """The inverse of :meth:`residuals`."""
        return _wrapped(_mirrored(residuals, self.mirrored) + self._whole_within(bound), bound)

    def _whole_within(self, bound: int) -> Int32:
        return self.whole.clip(-bound, bound)


@dataclass(frozen=True, eq=False)
class Pass:
    """The symbols that are coded at once."""

    where: Where
    """Index of the symbols in the latent of shape (C, h * w)."""
    tables: NDArray[np.uint8]
    """(channels of the group, positions of the pass)."""
    prediction: Prediction | None
    """Of the same shape; None in a first pass."""

    def residuals(self, symbols: Int32, bound: int) -> Int32:
        """What the tables code in place of symbols, both from -bound to bound."""
        return symbols if self.prediction is None else self.prediction.residuals(symbols, bound)

    def symbols(self, residuals: Int32, bound: int) -> Int32:
        """The inverse of :meth:`residuals`."""
        return residuals if self.prediction is None else self.prediction.symbols(residuals, bound)


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
        prediction: (Q, C, 4) int8: weights of the symbols above, to the left, to the right and below, of the same
            channel.
        table_count: 4 K, 4 to 256.

    Raises:
        ValueError: arrays of other shapes or types, or so large that sums could reach 2**24.
    """

    def __init__(
        self,
        groups: tuple[int, ...],
        bias: NDArray[np.int32],
        kernels: tuple[NDArray[np.int8], ...],
        coarse: NDArray[np.int8] | None,
        prediction: NDArray[np.int8],
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
        check_array("prediction", prediction, np.int8, (max(qualities, 1), ends[-1], len(_DIRECT_NEIGHBOURS)))
        _check_exact(bias, kernels, coarse)
        self._groups = tuple(slice(end - size, end) for size, end in zip(groups, ends, strict=True))
        self._bias = bias.astype(np.float32)
        self._weights = tuple(
            (_matrix(kernel[:, : group.start], _NEIGHBOURHOOD), _matrix(kernel[:, group.start :], _DIRECT_NEIGHBOURS))
            for kernel, group in zip(kernels, self._groups, strict=True)
        )
        self._coarse = None if coarse is None else coarse.astype(np.float32)
        self._prediction = prediction.astype(np.int32)
        self._scales = table_count // PHASES

    def passes(self, latent: Int32, quality: int, coarser: Int32 | None, ratio: int) -> Iterator[Pass]:
        """The passes over a latent, in coding order.

        The symbols of a pass, `latent.reshape(C, -1)[where]`, are read when the next one is asked for: an encoder hands
        over the whole latent, a decoder fills in each pass before it goes on.

        Args:
            latent: (C, h, w).
            quality: 1 to Q.
            coarser: the coarser latent, complete; None for the coarsest.
            ratio: the coarser latent's stride divided by this one's.
        """
        known = _Surroundings(latent.shape, np.float32)
        (even, even_places), (odd, odd_places) = (
            (positions, known.places(positions)) for positions in _by_parity(*latent.shape[1:])
        )
        from_coarser = self._from_coarser(latent.shape, coarser, ratio)
        for group, (before, own) in zip(self._groups, self._weights, strict=True):
            bias = self._bias[quality - 1, :, group, None]
            total = from_coarser[group] + before @ known.around(slice(0, group.start), _NEIGHBOURHOOD)
            yield Pass((group, even), self._scale(total.take(even_places, axis=1) + bias[0]).astype(np.uint8), None)
            # With the odd positions, known or not: they reach sums of even ones alone.
            known.planes[group] = _activity(latent[group])
            total += own @ known.around(group, _DIRECT_NEIGHBOURS)
            scale = self._scale(total.take(odd_places, axis=1) + bias[1])
            predicted = self._predicted(latent[group], self._prediction[quality - 1, group]).take(odd_places, axis=1)
            prediction, phase = _divided(predicted)
            yield Pass((group, odd), (scale + self._scales * phase).astype(np.uint8), prediction)
            if group is not self._groups[-1]:  # which nothing reads any more
                known.planes[group] = _activity(latent[group])

    def _scale(self, sums: Float32) -> Int32:
        """clip(sums >> SCALE_SHIFT, 0, K - 1); `sums` is overwritten. A power of two divides exactly."""
        sums *= np.float32(1 / (1 << SCALE_SHIFT))
        return np.clip(sums, 0, self._scales - 1, out=sums).astype(np.int32)

    @staticmethod
    def _predicted(latent: Int32, weights: Int32) -> Int32:
        """(C, places): the weighed sums of the four symbols around each place."""
        known = _Surroundings(latent.shape, np.int32)
        known.planes[:] = latent
        total = np.zeros((len(latent), known.size), dtype=np.int32)
        for neighbour, weight in zip(_DIRECT_NEIGHBOURS, weights.T, strict=True):
            total += weight[:, None] * known.shifted(slice(None), neighbour)
        return total

    def _from_coarser(self, shape: tuple[int, ...], coarser: Int32 | None, ratio: int) -> Float32:
        """What the coarser latent adds to the sums of a latent of `shape`, (C, places); broadcasts to it."""
        channels, height, width = shape
        if self._coarse is None or coarser is None:
            return np.zeros((channels, 1), dtype=np.float32)
        sums: Float32 = np.tensordot(self._coarse, _activity(coarser), 1)
        columns = np.minimum(np.arange(width + 1), width - 1) // ratio
        sums = sums.take(np.arange(height) // ratio, axis=1).take(columns, axis=2)
        return sums.reshape(channels, -1)


class _Surroundings(Generic[Number]):
    """Numbers of all positions with zeros around, so that a neighbour is a shift of the flat array.

    A row is followed by one zero, which also stands to the left of the next; a row of zeros lies above and below. The
    places of a plane are its positions and that zero, row by row: h * (w + 1).

    Attributes:
        planes: (C, h, w), a view of the flat array.
        size: the number of places.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[Number]) -> None:
        channels, height, width = shape
        self._row = width + 1
        self.size = height * self._row
        self._flat: NDArray[Number] = np.zeros((channels, self.size + 2 * self._row + 2), dtype=dtype)
        inside = self._flat[:, self._row + 1 :][:, : self.size]
        self.planes: NDArray[Number] = inside.reshape(channels, height, self._row)[:, :, :-1]

    def places(self, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of positions, row by row."""
        return positions + positions // (self._row - 1)

    def shifted(self, channels: slice, neighbour: tuple[int, int]) -> NDArray[Number]:
        """(channels, places): the neighbour of each place, of the 3 x 3 around it; a view."""
        start = neighbour[0] * self._row + neighbour[1]
        return self._flat[channels, start : start + self.size]

    def around(self, channels: slice, neighbours: tuple[tuple[int, int], ...]) -> NDArray[Number]:
        """(neighbours * channels, places): the neighbours of each place, as the columns of one matrix."""
        columns: NDArray[Number] = np.concatenate([self.shifted(channels, neighbour) for neighbour in neighbours])
        return columns


def _by_parity(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions (i, j), counted row by row, with i + j even, and those with i + j odd."""
    parities = np.add.outer(np.arange(height), np.arange(width)) % 2
    return np.flatnonzero(parities == 0), np.flatnonzero(parities == 1)


def _divided(predicted: Int32) -> tuple[Prediction, Int32]:
    """Predictions in steps of 2**-PREDICTION_SHIFT as the nearest whole numbers, and the phases of what is left."""
    whole = (predicted + _HALF) >> PREDICTION_SHIFT
    left = predicted - whole * _ONE
    mirrored = left >> 31
    return Prediction(whole, mirrored), np.minimum(_mirrored(left, mirrored) >> _PHASE_SHIFT, PHASES - 1)


def _mirrored(numbers: Int32, where: Int32) -> Int32:
    """-x where the mask is -1, x where it is 0: in two's complement, -x is (x ^ -1) + 1."""
    mirrored: Int32 = (numbers ^ where) - where
    return mirrored


def _wrapped(numbers: Int32, bound: int) -> Int32:
    """Numbers from -2 bound to 2 bound, brought to -bound to bound by adding or taking off 2 bound + 1."""
    # To look first costs less than to select: hardly ever is there any.
    if numbers.max(initial=0) > bound:
        numbers[numbers > bound] -= 2 * bound + 1
    if numbers.min(initial=0) < -bound:
        numbers[numbers < -bound] += 2 * bound + 1
    return numbers


def _matrix(kernel: NDArray[np.int8], neighbours: tuple[tuple[int, int], ...]) -> Float32:
    """(c, neighbours * channels) of a (c, channels, 3, 3) kernel, in the order of `_Surroundings.around`."""
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
