"""Uniform scalar quantization of feature maps, with one range per channel.

    q  = clip(rint((x - low) / step), 0, 2**bits - 1)
    x^ = low + q * step

all in IEEE float32, each operation rounded on its own, ties of `rint` to even. A receiver computes the second line
only.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import ArrayLike, NDArray

from keyfpn.protocol.errors import ConfigurationError, FeatureError, InvalidField

MIN_BITS, MAX_BITS = 2, 8
# Far above the features of any network, and low enough for sums of squared errors to stay finite in float32.
_MAX_MAGNITUDE = 2.0**48
_SMALLEST_STEP = np.float32(2.0**-126)
# The search of `fit_ranges`: clipping ranges to begin with, as fractions of the way from the mean to the extremes, then
# by how much of its width a range is moved at either end, round after round.
_CLIP_FRACTIONS = (0.75, 0.55, 0.4, 0.25, 0.15)
_END_MOVES = (0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.012, 0.012, 0.006, 0.003)
_BLOCK_ELEMENTS = 1 << 16

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ranges:
    """The range of every channel.

    Both rows are rounded to bfloat16 (nearest, ties to even) when the object is made, so that the quantizer works with
    the very numbers that a packet carries.

    Attributes:
        low: (C,) float32, the value of symbol 0; finite.
        step: (C,) float32, the quantization step; above 0, and `low + (2**bits - 1) * step` finite.
        bits: bits of a symbol, 2 to 8.

    Raises:
        ConfigurationError: bits out of range.
        InvalidField: rows that are no such ranges.
    """

    low: Float32
    step: Float32
    bits: int

    def __post_init__(self) -> None:
        check_bits(self.bits)
        low, step = _to_bfloat16(self.low), _to_bfloat16(self.step)
        if low.ndim != 1 or low.shape != step.shape or low.size == 0:
            raise InvalidField("ranges", "one low and one step per channel", f"shapes {low.shape} and {step.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            top = low + np.float32((1 << self.bits) - 1) * step
        for name, row, expected, good in (
            ("low", low, "finite bfloat16", np.isfinite(low)),
            ("step", step, "finite bfloat16 above 0", np.isfinite(step) & (step > 0)),
            ("top", top, "finite float32", np.isfinite(top)),
        ):
            if not good.all():
                channel = int(np.argmin(good))
                raise InvalidField(f"ranges, {name} of channel {channel}", expected, row[channel])
        for name, row in (("low", low), ("step", step)):
            row.flags.writeable = False
            object.__setattr__(self, name, row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, bytes, bytes]:
        return self.bits, self.low.tobytes(), self.step.tobytes()


def check_bits(bits: int) -> None:
    """Raises ConfigurationError unless `bits` is a symbol width that the format has."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ConfigurationError("bits of a symbol", f"{MIN_BITS} to {MAX_BITS}", bits)


def quantize(values: Float32, ranges: Ranges) -> NDArray[np.uint8]:
    """Symbols of a feature map.

    Args:
        values: (C, ...) float32, finite.
        ranges: of C channels.

    Returns:
        uint8 of the same shape, below 2**bits.

    Raises:
        FeatureError: values that are not finite.
        ValueError: another number of channels.
    """
    values = np.asarray(values, dtype=np.float32)
    _check_channels(values, ranges)
    if not np.isfinite(values).all():
        raise FeatureError("features to quantize", "finite values", "some that are not")
    low, step = (_per_channel(row, values.ndim) for row in (ranges.low, ranges.step))
    return _symbols(values, low, step, ranges.bits).astype(np.uint8)


def dequantize(symbols: NDArray[np.uint8], ranges: Ranges) -> Float32:
    """Values of symbols.

    Args:
        symbols: (C, ...) uint8, below 2**bits.
        ranges: of C channels.

    Returns:
        float32 of the same shape, finite.

    Raises:
        ValueError: another number of channels.
    """
    _check_channels(symbols, ranges)
    values = symbols.astype(np.float32)
    values *= _per_channel(ranges.step, symbols.ndim)
    values += _per_channel(ranges.low, symbols.ndim)
    return values


def fit_ranges(values: ArrayLike, bits: int, method: Literal["mse", "minmax"] = "mse") -> Ranges:
    """Ranges for values like the given ones.

    "minmax" covers the smallest to the largest value of each channel. "mse" clips each channel at both ends where that
    lowers the squared error of this very quantizer, bfloat16 rounding included, on all the given values: a pattern
    search (R. Hooke, T. A. Jeeves, "Direct search" solution of numerical and statistical problems, 1961) over the two
    ends, begun at the best of a few symmetric ranges. Its error is never above that of "minmax"; its time is linear in
    the number of values.

    Args:
        values: (C, N) or (C, H, W) float32, finite and below 2**48 in magnitude, N >= 1.
        bits: 2 to 8.
        method: see above.

    Raises:
        FeatureError: values that are not finite and below 2**48 in magnitude.
        ValueError: another shape, or an unknown method.
        ConfigurationError: bits out of range.
    """
    check_bits(bits)
    rows = np.asarray(values, dtype=np.float32)
    if rows.ndim not in (2, 3) or rows.size == 0:
        raise ValueError(f"ranges are fitted to (channels, values): expected some, found shape {rows.shape}")
    if not np.abs(rows).max() < _MAX_MAGNITUDE:
        raise FeatureError("features to fit ranges to", "finite values below 2**48 in magnitude", "some that are not")
    rows = rows.reshape(len(rows), -1)
    if method == "minmax":
        return Ranges(*_covering(rows.min(axis=1), rows.max(axis=1), bits), bits)
    if method != "mse":
        raise ValueError(f"the method of a range is 'mse' or 'minmax', not {method!r}")
    channels_per_block = max(1, _BLOCK_ELEMENTS // rows.shape[1])  # so that temporaries stay in the cache
    fitted = [_search(rows[i : i + channels_per_block], bits) for i in range(0, len(rows), channels_per_block)]
    low, step = (np.concatenate(parts) for parts in zip(*fitted, strict=True))
    return Ranges(low, step, bits)


def _search(rows: Float32, bits: int) -> tuple[Float32, Float32]:
    """Low and step per row of (C, N) values that make the squared error small."""
    lower, upper, mean = rows.min(axis=1), rows.max(axis=1), rows.mean(axis=1)
    best = np.stack([lower, upper, *_covering(lower, upper, bits)])
    best_error = _squared_error(rows, best[2], best[3], bits)

    def offer(lower: Float32, upper: Float32) -> None:
        low, step = _covering(lower, upper, bits)
        error = _squared_error(rows, low, step, bits)
        better = error < best_error
        best_error[better] = error[better]
        best[:, better] = np.stack([lower, upper, low, step])[:, better]

    for fraction in map(np.float32, _CLIP_FRACTIONS):
        offer(mean + fraction * (lower - mean), mean + fraction * (upper - mean))
    for move in map(np.float32, _END_MOVES):
        width = move * (best[1] - best[0])
        for lower_move, upper_move in ((width, 0), (-width, 0), (0, width), (0, -width)):
            offer(best[0] + lower_move, best[1] + upper_move)
    return best[2], best[3]


def _squared_error(rows: Float32, low: Float32, step: Float32, bits: int) -> Float32:
    errors = _symbols(rows, low[:, None], step[:, None], bits)
    errors *= step[:, None]
    errors += low[:, None]
    errors -= rows
    total: Float32 = np.einsum("cn,cn->c", errors, errors)
    return total


def _covering(lower: Float32, upper: Float32, bits: int) -> tuple[Float32, Float32]:
    """Low and step in bfloat16 that reach from `lower` or below to `upper` or above.

    Rounding outward also keeps a constant channel: its value is `low` plus a multiple of a step that is finer than
    bfloat16 is there.
    """
    low = _floor_to_bfloat16(lower)
    step = -_floor_to_bfloat16((low - upper) / np.float32((1 << bits) - 1))
    return low, np.maximum(step, _SMALLEST_STEP)


def _symbols(values: Float32, low: Float32, step: Float32, bits: int) -> Float32:
    """Symbols as float32; `low` and `step` broadcast over `values`."""
    with np.errstate(over="ignore"):  # a value far outside the range may become infinite, and is clipped
        scaled = (values - low) / step
    np.rint(scaled, out=scaled)
    np.clip(scaled, 0, (1 << bits) - 1, out=scaled)
    return scaled


def _per_channel(row: Float32, ndim: int) -> Float32:
    return row.reshape(-1, *(1,) * (ndim - 1))


def _check_channels(array: NDArray[np.generic], ranges: Ranges) -> None:
    if array.ndim < 1 or len(array) != len(ranges.low):
        raise ValueError(f"an array of {len(ranges.low)} channels expected by the ranges, found shape {array.shape}")


def _to_bfloat16(row: ArrayLike) -> Float32:
    """The nearest bfloat16 values, ties to even, as a new float32 array; NaN stays NaN."""
    return np.asarray(row, dtype=np.float32).astype(bfloat16).astype(np.float32)


def _floor_to_bfloat16(row: Float32) -> Float32:
    """The largest bfloat16 values that are not above finite ones, as float32."""
    words = row.view(np.uint32)
    away_from_zero = np.where(np.signbit(row), np.uint32(0xFFFF), np.uint32(0))
    floored: Float32 = ((words + away_from_zero) & np.uint32(0xFFFF0000)).view(np.float32)
    return floored
