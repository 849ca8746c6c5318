from __future__ import annotations

import numpy as np
import pytest
import torch

from keyfpn.protocol.ans import PRECISION_BITS
from keyfpn.protocol.context import PHASES
from keyfpn.protocol.latent import LatentCoder
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.prior import SCALES, table_probabilities
from keyfpn.reconstruct.learned.shape import Shape
from keyfpn.training.codecs.learned.tables import LARGEST_SYMBOL, Symbols, fit_entropy_models

SHAPE = Shape(16, 24, (8, 8, 8), (8, 8, 8, 8), groups=((2, 2), (2, 4), (3,)), qualities=2)


@pytest.fixture
def codec() -> CodecNetwork:
    torch.manual_seed(0)
    codec = CodecNetwork(SHAPE).eval()
    with torch.no_grad():
        for prior in codec.priors:
            for parameter in prior.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return codec


def frames(count: int, seed: int = 0) -> list[Symbols]:
    """Symbols whose spread differs from channel to channel."""
    random = np.random.default_rng(seed)
    scales = np.linspace(0.2, 3, 6)[:, None, None]
    made: list[Symbols] = []
    for number in range(count):
        latents = [
            np.rint(random.laplace(size=(c, 6 * s, 8 * s)) * scales[:c]).clip(-8, 8).astype(np.int16)
            for c, s in ((4, 1), (6, 2), (3, 4))
        ]
        made.append((latents, 1 + number % 2))
    return made


def test_the_trained_index_is_the_integer_one(codec: CodecNetwork) -> None:
    """What training computes in floats is what both ends compute in integers, up to the rounding of weights."""
    latents, quality = frames(1)[0]
    coded = LatentCoder(fit_entropy_models(codec, frames(4))).coded(latents, quality)
    tensors = [torch.from_numpy(latent)[None].float() for latent in latents]
    for place, prior in enumerate(codec.priors):
        trained = prior._index(tensors[place], tensors[place - 1] if place else None, torch.tensor([quality - 1]))
        difference = trained[0].detach().clamp(0, SCALES - 1).numpy() - coded[place].tables % SCALES
        assert np.abs(difference).max() < 1.6  # half a table for rounding down, one for the weights' 1/128 steps
        assert np.abs(difference).mean() < 0.4


def test_the_trained_prediction_is_the_integer_one(codec: CodecNetwork) -> None:
    """A symbol less its prediction is its residual and a fraction of the residual's phase, up to rounding."""
    latents, quality = frames(1)[0]
    coder = LatentCoder(fit_entropy_models(codec, frames(4)))
    for place, (prior, coded) in enumerate(zip(codec.priors, coder.coded(latents, quality), strict=True)):
        symbols = torch.from_numpy(latents[place])[None].float()
        distance = np.abs((symbols - prior._predict(symbols, torch.tensor([quality - 1])))[0].detach().numpy())
        bound = coder.max_symbols[place]
        # Which side a fraction near 0 or 1/2 lies on, rounding may change.
        middle = (coded.tables // SCALES + 0.5) / (2 * PHASES)
        found = np.abs(coded.residuals - middle)
        inside = distance < bound
        assert inside.mean() > 0.9
        assert np.abs(found - distance)[inside].max() < 0.3
        assert np.abs(found - distance)[inside].mean() < 0.07


def test_each_phase_has_tables_around_its_own_middle() -> None:
    residuals = np.arange(-20, 21)
    means = (table_probabilities(20) @ residuals).reshape(PHASES, SCALES)
    narrow = SCALES // 2
    assert np.allclose(means[0], 0, atol=1e-9)
    assert (np.diff(means[:, narrow]) > 0).all()
    assert means[3, narrow] == pytest.approx(7 / 16, abs=0.02)


def test_counted_tables_code_better_than_assumed_ones(codec: CodecNetwork) -> None:
    train, other = frames(40), frames(10, seed=1)
    counted, assumed = LatentCoder(fit_entropy_models(codec, train)), LatentCoder(fit_entropy_models(codec, train[:1]))
    bits = [sum(sum(coder.information(*frame)) for frame in other) for coder in (counted, assumed)]
    assert bits[0] < bits[1]


def test_tables_hold_more_than_was_seen(codec: CodecNetwork) -> None:
    models = fit_entropy_models(codec, frames(4))
    largest = [max(int(np.abs(latents[place]).max()) for latents, _ in frames(4)) for place in (0, 1, 2)]
    for model, bound in zip(models, largest, strict=True):
        assert model.max_symbol >= bound
        assert model.tables.shape == (PHASES * SCALES, 2 * model.max_symbol + 1)
        assert (model.tables.sum(1) == 1 << PRECISION_BITS).all()
    assert [model.stride for model in models] == [32, 16, 8]


def test_tables_stay_small_whatever_was_seen(codec: CodecNetwork) -> None:
    latents, quality = frames(1)[0]
    latents[1][0, 0, 0] = LARGEST_SYMBOL - 10
    models = fit_entropy_models(codec, [(latents, quality)])
    assert models[1].max_symbol == LARGEST_SYMBOL
    assert models[0].max_symbol < 100


def test_the_context_model_survives_its_integers(codec: CodecNetwork) -> None:
    again = CodecNetwork(SHAPE)
    for prior, fresh in zip(codec.priors, again.priors, strict=True):
        integers = prior.integers()
        arrays = {name: integers[name] for name in ("bias", "prediction")}
        arrays |= {f"kernel{i}": kernel for i, kernel in enumerate(integers["kernels"])}
        if integers["coarse"] is not None:
            arrays["coarse"] = integers["coarse"]
        assert fresh.take_integers(arrays) == []
        for name, array in fresh.integers().items():
            expected = integers[name]
            pairs = zip(array, expected, strict=True) if name == "kernels" else [(array, expected)]
            assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_context_model_of_another_size_gives_what_fits(codec: CodecNetwork) -> None:
    prior = codec.priors[0]
    before = prior.integers()
    narrower = before["kernels"][0][:1] + np.int8(3)
    assert prior.take_integers({"bias": before["bias"] + 64, "kernel0": narrower}) == [
        "kernel0",
        "kernel1",
        "prediction",
    ]
    after = prior.integers()
    assert np.array_equal(after["bias"], before["bias"] + 64)
    assert np.array_equal(after["kernels"][0][:1], narrower)
    assert np.array_equal(after["kernels"][0][1:], before["kernels"][0][1:])
