from __future__ import annotations

import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.shape import KEY_LEVELS, Shape
from keyfpn.training.codecs.distortion import level_errors
from keyfpn.training.codecs.learned.linear_start import start_linear, started_parameters
from keyfpn.training.codecs.start import start_standardize, start_top_down

TRADE_OFFS = (0.1, 1.0, 10.0)


def look(network: GeneralizedRCNN, seed: int) -> dict[str, Tensor]:
    """Features of two pictures of coloured blotches."""
    coarse = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(seed)) * 255
    pictures = torch.nn.functional.interpolate(coarse, size=(192, 192), mode="bilinear")
    with torch.no_grad():
        return EdgeHalf(network, [*REBUILT, "inner2", *KEY_LEVELS]).compute((pictures - 127.5) / 127.5)


def started(network: GeneralizedRCNN, groups: tuple[tuple[int, ...], ...]) -> CodecNetwork:
    torch.manual_seed(0)
    codec, features = CodecNetwork(Shape(128, 24, groups=groups, qualities=len(TRADE_OFFS))), look(network, 0)
    start_standardize(codec.analysis.standardize, features)
    start_top_down(codec.synthesis.top_down, network, features)
    start_linear(codec, network, features, TRADE_OFFS)
    return codec.eval()


def test_all_components_rebuild_the_pyramid(network: GeneralizedRCNN) -> None:
    codec, features = started(network, ((128,), (128,), (128 + 4 * 24,))), look(network, 1)
    with torch.no_grad():
        errors = level_errors(features, codec.synthesis(codec.analysis(features)))
    assert max(map(float, errors.values())) < 1e-4


def test_every_quality_loses_less_than_the_one_before_and_takes_more_bits(network: GeneralizedRCNN) -> None:
    codec, features = started(network, ((16, 48), (16, 48), (8, 32))), look(network, 0)
    bits, errors = [], []
    for quality in range(len(TRADE_OFFS)):
        with torch.no_grad():
            passage = codec(features, torch.full((2,), quality))
        bits.append(float(torch.stack(passage.bits).sum()))
        errors.append([float(error) for error in level_errors(features, passage.pyramid).values()])
    assert bits == sorted(bits)
    assert bits[0] < 0.5 * bits[-1]
    for level in range(len(REBUILT)):
        assert errors[0][level] > errors[1][level] > errors[2][level]
    assert max(errors[-1]) < 0.2


@pytest.mark.parametrize("groups", [((200,), (200,), (300,)), ((2,), (2,), (2,))])
def test_more_channels_than_components_and_few(network: GeneralizedRCNN, groups: tuple[tuple[int, ...], ...]) -> None:
    codec = started(network, groups)
    for name, weights in codec.state_dict().items():
        assert weights.isfinite().all(), name
    assert all(weights.abs().sum() > 0 for weights in started_parameters(codec))
