from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from keyfpn.protocol.context import Context
from keyfpn.protocol.latent import LatentCoder, LatentModel
from tests.protocol.latent_models import Case, cases

KERNELS = (np.ones((2, 2, 3, 3), np.int8), np.ones((1, 3, 3, 3), np.int8))
BIAS = np.zeros((4, 2, 3), np.int32)
PREDICTION = np.full((4, 3, 4), 50, np.int8)


def activity(latent: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.array([min(abs(symbol).bit_length(), 8) for symbol in latent.reshape(-1).tolist()]).reshape(latent.shape)


def scales_in_int64(
    model: LatentModel, latent: NDArray[np.int32], quality: int, coarser: NDArray[np.int32] | None, ratio: int
) -> NDArray[np.int64]:
    """The definition of docs/wire-format.md, for all positions at once and without floats."""
    _, height, width = latent.shape
    activities = activity(latent)
    row, column = np.indices((height, width))
    even = (row + column) % 2 == 0
    chosen = []
    for size, end, kernel in zip(model.groups, accumulate(model.groups), model.kernels, strict=True):
        of_pass = []
        for number in range(2):
            known = activities[:end].copy()
            known[end - size :] *= even * number
            around = np.pad(known, ((0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))
            total = np.einsum("ckyx,kijyx->cij", kernel.astype(np.int64), windows)
            total += model.bias[quality - 1, number, end - size : end, None, None]
            if coarser is not None:
                covering = activity(coarser)[:, row // ratio, column // ratio]
                total += np.einsum("ck,kij->cij", model.coarse[end - size : end].astype(np.int64), covering)
            of_pass.append(np.clip(np.floor_divide(total, 128), 0, len(model.tables) // 4 - 1))
        chosen.append(np.where(even, *of_pass))
    return np.concatenate(chosen)


@given(cases())
def test_scales_are_those_of_integer_arithmetic(case: Case) -> None:
    found = case.coder.coded(case.latents, case.quality)
    for level, (model, latent, coded) in enumerate(zip(case.models, case.latents, found, strict=True)):
        coarser = case.latents[level - 1] if level else None
        ratio = case.models[level - 1].stride // model.stride
        assert coded.tables.dtype == np.uint8
        scales = coded.tables % (len(model.tables) // 4)
        assert np.array_equal(scales, scales_in_int64(model, latent, case.quality, coarser, ratio))


def model_at_the_bound(excess: int) -> LatentModel:
    """Sums of 918 channels with the largest weights, which the bias brings back to a small total.

    |bias| + 8 * sum |weights| is 2**24 - 1 + `excess`.
    """
    kernel = np.full((1, 919, 3, 3), 127, np.int8)
    kernel[0, 918, :] = 0
    weights = int(kernel.sum(dtype=np.int64))
    bias = np.zeros((1, 2, 919), np.int32)
    bias[:, :, 918] = 8 * weights - (2**24 - 1 + excess)
    tables = np.ones((256, 601), np.uint32)
    tables[:, 300] += 2**24 - 601
    return LatentModel(
        stride=1,
        groups=(918, 1),
        tables=tables,
        bias=bias,
        kernels=(np.zeros((918, 918, 3, 3), np.int8), kernel),
        coarse=None,
        prediction=np.zeros((1, 919, 4), np.int8),
    )


@pytest.mark.parametrize("seed", range(10))
def test_sums_just_below_the_bound_are_exact(seed: int) -> None:
    """Sums of float32 stay exact on their way over 8 * 127 * 9 * 918, about 2**23."""
    random = np.random.default_rng(seed)
    latent = np.full((919, 3, 3), 300, np.int32)
    latent.reshape(-1)[random.choice(918 * 9, 14, replace=False)] = random.integers(2, 64, 14)
    model = model_at_the_bound(0)
    (coded,) = LatentCoder([model]).coded([latent], 1)
    assert np.array_equal(coded.tables, scales_in_int64(model, latent, 1, None, 1))
    assert 0 < coded.tables[918, 1, 1] < 63


def test_sums_that_could_round_are_refused() -> None:
    with pytest.raises(ValueError, match=r"context sums of channel 918: .* below 2\*\*24, found 16777216"):
        model_at_the_bound(1)


def flat(latent: np.ndarray) -> np.ndarray:
    return latent.reshape(len(latent), -1)


def test_a_pass_is_not_read_before_it_is_done() -> None:
    """A decoder's latent holds anything where it is not decoded yet."""
    context = Context((2, 1), BIAS, KERNELS, None, PREDICTION, 256)
    latent = np.arange(3 * 5 * 4, dtype=np.int32).reshape(3, 5, 4)
    decoded = np.full_like(latent, -99)
    passes = zip(context.passes(latent, 2, None, 1), context.passes(decoded, 2, None, 1), strict=True)
    for expected, found in passes:
        symbols = flat(latent)[expected.where]
        assert np.array_equal(found.tables, expected.tables)
        assert found.tables.shape == symbols.shape
        residuals = expected.residuals(symbols, 60)
        assert np.array_equal(found.symbols(residuals, 60), symbols)
        flat(decoded)[found.where] = symbols
    assert np.array_equal(decoded, latent)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"groups": ()}, "channel groups: expected one or more"),
        ({"groups": (2, 0)}, "channel groups: expected one or more of at least 1 channel"),
        ({"groups": (3,)}, r"found \(3,\) and 2 kernels"),
        ({"groups": (1, 2)}, r"kernel of channel group 0: expected int8 of shape \(1, 1, 3, 3\), found int8 .*2, 2, 3"),
        ({"kernels": (KERNELS[0], KERNELS[1].astype(int))}, "kernel of channel group 1: expected int8 .* found int64"),
        ({"bias": BIAS[:0]}, r"bias: expected int32 of shape \(1, 2, 3\), found int32 of shape \(0, 2, 3\)"),
        ({"bias": np.int32(4)}, r"bias: expected int32 of shape \(1, 2, 3\), found int32 of shape \(\)"),
        ({"bias": BIAS.astype(np.float32)}, "bias: expected int32 .* found float32"),
        ({"bias": BIAS[:, :, :2]}, r"bias: expected int32 of shape \(4, 2, 3\)"),
        ({"coarse": np.ones((2, 5), np.int8)}, r"coarse weights: expected int8 of shape \(3, 5\)"),
        ({"coarse": np.int8(1)}, r"coarse weights: expected int8 of shape \(3, 1\)"),
        ({"coarse": np.ones((3, 5), np.uint8)}, "coarse weights: expected int8 .* found uint8"),
        ({"bias": np.full_like(BIAS, -(2**31))}, "context sums of channel 2: .* found 2147483864"),
        ({"bias": BIAS + (2**24 - 8 * 27), "coarse": np.zeros((3, 1), np.int8)}, "channel 2: .* found 16777216"),
        ({"bias": BIAS + (2**24 - 8 * 28), "coarse": -np.ones((3, 1), np.int8)}, "channel 2: .* found 16777216"),
    ],
)
def test_no_context_model(changed: dict[str, object], fault: str) -> None:
    arguments = {"groups": (2, 1), "bias": BIAS, "kernels": KERNELS, "coarse": None, "prediction": PREDICTION}
    with pytest.raises(ValueError, match=fault):
        Context(**arguments | changed, table_count=4)
