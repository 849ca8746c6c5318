import math
import re
import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from keyfpn.protocol.errors import ConfigurationError, FeatureError, InvalidField
from keyfpn.protocol.quantization import Ranges, dequantize, fit_ranges, quantize

BITS = st.integers(2, 8)
FINITE = st.floats(-(2.0**40), 2.0**40, width=32)
FEATURES = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FINITE)


def squared_error(values: NDArray[np.float32], ranges: Ranges) -> NDArray[np.float64]:
    """Per channel."""
    return np.square(dequantize(quantize(values, ranges), ranges).astype(np.float64) - values).sum(axis=-1)


def bfloat16_neighbours(value: float) -> tuple[float, float]:
    """The bfloat16 towards zero and the next one away from it."""
    (word,) = struct.unpack("<I", struct.pack("<f", value))
    word &= 0xFFFF0000
    return tuple(struct.unpack("<f", struct.pack("<I", word + up))[0] for up in (0, 0x10000))


@given(st.floats(-(2.0**126), 2.0**126, width=32))
def test_ranges_are_the_nearest_bfloat16(value: float) -> None:
    low = float(Ranges([value], [1], 4).low[0])
    inner, outer = bfloat16_neighbours(value)
    assert abs(low - value) == min(abs(inner - value), abs(outer - value))


@pytest.mark.parametrize(
    ("value", "rounded"), [(1.00390625, 1.0), (1.01171875, 1.015625), (-1.00390625, -1.0), (1.00390637, 1.0078125)]
)
def test_ties_go_to_the_even_bfloat16(value: float, rounded: float) -> None:
    assert Ranges([value], [1], 4).low[0] == rounded


def test_the_two_lines_of_the_specification() -> None:
    """At 2 bits, low -1 and step 0.5, with ties to even and clipping at both ends."""
    ranges = Ranges([-1.0], [0.5], 2)
    values = np.array([[-5, -1, -0.75, -0.7, -0.25, 0, 0.25, 0.3, 9, 3e38, -3e38]], dtype=np.float32)
    symbols = quantize(values, ranges)
    assert symbols.dtype == np.uint8
    assert symbols.tolist() == [[0, 0, 0, 1, 2, 2, 2, 3, 3, 3, 0]]
    assert dequantize(symbols, ranges).tolist() == [[-1, -1, -1, -0.5, 0, 0, 0, 0.5, 0.5, 0.5, -1]]


def test_channels_have_their_own_ranges_in_any_number_of_axes() -> None:
    ranges = Ranges([0, 100], [1, 10], 8)
    symbols = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    values = dequantize(symbols, ranges)
    assert values.dtype == np.float32
    assert values[0].tolist() == symbols[0].tolist()
    assert values[1].tolist() == (100 + 10 * symbols[1].astype(int)).tolist()
    assert np.array_equal(quantize(values.astype(np.float64), ranges), symbols)


@given(FEATURES, BITS)
def test_symbols_survive_the_round_trip(values: NDArray[np.float32], bits: int) -> None:
    """Reconstructed values quantize to their own symbols: nothing drifts where frames are coded twice."""
    ranges = fit_ranges(values, bits, "minmax")
    assume((np.abs(ranges.low) < 2.0**12 * ranges.step).all())  # else float32 cannot tell the symbols apart
    symbols = quantize(values, ranges)
    assert np.array_equal(quantize(dequantize(symbols, ranges), ranges), symbols)


@given(FEATURES, BITS)
def test_minmax_covers_every_value(values: NDArray[np.float32], bits: int) -> None:
    ranges = fit_ranges(values, bits, "minmax")
    errors = np.abs(dequantize(quantize(values, ranges), ranges).astype(np.float64) - values)
    rounding = np.abs(ranges.low).astype(np.float64) * 2.0**-22 + 2.0**-126
    assert (errors <= (ranges.step * (0.5 + 2.0**-20) + rounding)[:, None]).all()


@given(FEATURES, BITS)
def test_mse_is_never_worse_than_minmax(values: NDArray[np.float32], bits: int) -> None:
    fitted, covering = (squared_error(values, fit_ranges(values, bits, method)) for method in ("mse", "minmax"))
    assert (fitted <= covering * (1 + 1e-4) + 1e-30).all()


def exhaustive_error(values: NDArray[np.float32], bits: int) -> NDArray[np.float64]:
    """The smallest squared error per channel over 40 x 40 clipping ranges."""
    smallest, largest, mean = values.min(axis=1), values.max(axis=1), values.mean(axis=1)
    best = np.full(len(values), np.inf)
    for below in np.linspace(0.025, 1, 40):
        for above in np.linspace(0.025, 1, 40):
            low = mean + below * (smallest - mean)
            step = (mean + above * (largest - mean) - low) / ((1 << bits) - 1)
            best = np.minimum(best, squared_error(values, Ranges(low, step, bits)))
    return best


@pytest.mark.parametrize("bits", [2, 4, 6])
@pytest.mark.parametrize("shape", ["laplace", "normal", "relu", "exponential", "two modes"])
def test_mse_is_near_the_best_clipping(shape: str, bits: int) -> None:
    random = np.random.default_rng(0)
    normal = random.normal(size=(6, 1500))
    values = {
        "laplace": random.laplace(size=normal.shape),
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "exponential": random.exponential(size=normal.shape),
        "two modes": np.where(random.random(normal.shape) < 0.5, normal, 8 + 0.3 * normal),
    }[shape].astype(np.float32)
    ratio = squared_error(values, fit_ranges(values, bits)) / exhaustive_error(values, bits)
    assert ratio.mean() < 1.05
    assert ratio.max() < 1.2


def test_mse_clips_outliers_where_minmax_does_not() -> None:
    values = np.random.default_rng(0).laplace(size=(1, 5000)).astype(np.float32)
    values[0, 0] = 40
    fitted, covering = (squared_error(values, fit_ranges(values, 4, method)) for method in ("mse", "minmax"))
    assert fitted < covering / 3


def test_mse_is_the_default_and_takes_feature_maps() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)
    assert fit_ranges(values, 4) == fit_ranges(values.reshape(3, 600), 4, "mse")


def test_channels_do_not_influence_each_other() -> None:
    """Also across the blocks that the search works in."""
    values = np.random.default_rng(0).laplace(size=(40, 5000)).astype(np.float32)
    together = fit_ranges(values, 3)
    alone = [fit_ranges(values[index : index + 1], 3) for index in range(40)]
    assert together.low.tolist() == [ranges.low[0] for ranges in alone]
    assert together.step.tolist() == [ranges.step[0] for ranges in alone]


@pytest.mark.parametrize("method", ["mse", "minmax"])
@pytest.mark.parametrize("constant", [0.0, 1.0, -1.0, 100.3, -100.3, 1e-30, 1e-45, 1e14, math.pi])
def test_a_constant_channel_is_kept(constant: float, method: str) -> None:
    values = np.full((1, 10), constant, dtype=np.float32)
    ranges = fit_ranges(values, 4, method)
    decoded = dequantize(quantize(values, ranges), ranges)
    assert np.allclose(decoded, values, rtol=2.0**-14, atol=2.0**-126)


@pytest.mark.parametrize(
    "values",
    [[[1, math.nan]], [[math.inf]], [[2.0**48]]],
)
def test_values_that_have_no_ranges(values: object) -> None:
    with pytest.raises(FeatureError, match="finite values below"):
        fit_ranges(values, 4)


@pytest.mark.parametrize("shape", [(5,), (0, 5), (5, 0), (1, 1, 1, 1)])
def test_ranges_are_of_channels_with_values(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"found shape {shape}")):
        fit_ranges(np.zeros(shape), 4)


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="'mse' or 'minmax', not 'max'"):
        fit_ranges(np.zeros((1, 5)), 4, "max")


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 32])
def test_bits_are_two_to_eight(bits: int) -> None:
    for attempt in (lambda: Ranges([0], [1], bits), lambda: fit_ranges(np.zeros((1, 5)), bits)):
        with pytest.raises(ConfigurationError, match=f"expected 2 to 8, found {bits}"):
            attempt()


@pytest.mark.parametrize(
    ("low", "step", "subject"),
    [
        ([0, math.inf], [1, 1], "ranges, low of channel 1"),
        ([math.nan, 0], [1, 1], "ranges, low of channel 0"),
        ([3.4e38], [1], "ranges, low of channel 0"),  # rounds up to infinity in bfloat16
        ([0, 0], [1, 0], "ranges, step of channel 1"),
        ([0, 0], [-1, 1], "ranges, step of channel 0"),
        ([0], [math.nan], "ranges, step of channel 0"),
        ([0], [math.inf], "ranges, step of channel 0"),
        ([0], [1e38], "ranges, top of channel 0"),
        ([3e38], [1e37], "ranges, top of channel 0"),
        ([0, 0], [1], "ranges"),
        ([], [], "ranges"),
        ([[0]], [[1]], "ranges"),
    ],
)
def test_no_ranges(low: object, step: object, subject: str) -> None:
    with pytest.raises(InvalidField) as raised:
        Ranges(low, step, 4)
    assert raised.value.subject == subject


def test_ranges_are_values() -> None:
    ranges = Ranges([0, 1], [1, 2], 4)
    assert ranges == Ranges(np.float64([0, 1]), [1, 2], 4)
    assert hash(ranges) == hash(Ranges([0, 1], [1, 2], 4))
    assert ranges not in (Ranges([0, 1], [1, 2], 5), Ranges([0, 1.5], [1, 2], 4), Ranges([0, 1], [1, 3], 4), "ranges")
    with pytest.raises(ValueError, match="read-only"):
        ranges.low[0] = 3


def test_another_number_of_channels() -> None:
    ranges = Ranges([0, 1], [1, 2], 4)
    for attempt in (
        lambda: quantize(np.zeros((3, 5), dtype=np.float32), ranges),
        lambda: dequantize(np.zeros((1, 5), dtype=np.uint8), ranges),
        lambda: quantize(np.float32(0), ranges),
    ):
        with pytest.raises(ValueError, match="array of 2 channels expected"):
            attempt()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_not_quantized(value: float) -> None:
    with pytest.raises(FeatureError, match="finite"):
        quantize(np.float32([[0, value]]), Ranges([0], [1], 4))
