"""Where a learned codec starts: as a linear transform codec, with the principal components of the FPN's laterals.

A network that starts at random has to find its latents' channels under the rate's pressure. What rounds to zero gives
the synthesis nothing to learn from, and channels stay dead: of the 160 of y1 and y2 in a codec that started so, 90 took
less than a byte per picture at the highest quality. Principal components are the best orthogonal transform where rates
are high (V. Goyal, Theoretical foundations of transform coding, IEEE Signal Processing Magazine 2001), and all of them
are alive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor, nn

from keyfpn.reconstruct.layers import Up
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.prior import ContextPrior
from keyfpn.reconstruct.learned.shape import LATENT_STRIDES, LATERALS

_SMALLEST_DEVIATION = 1e-3
"""What varies less than that counts as nothing."""


@dataclass(frozen=True)
class _Components:
    """The first k principal components of d numbers."""

    mean: Tensor
    """(d,)."""
    basis: Tensor
    """(d, k), orthonormal columns; columns of zeros beyond d."""
    deviation: Tensor
    """(k,), of the coefficients, largest first; zeros beyond d."""


def start_linear(
    codec: CodecNetwork, detector: GeneralizedRCNN, features: Mapping[str, Tensor], trade_offs: Sequence[float]
) -> None:
    """Make a new codec a linear one; its nonlinear way begins at zero.

    Args:
        codec: with random weights.
        detector: its detector, for the lateral convolution of res2.
        features: of some train pictures: lateral3 … lateral5, inner2 … inner5 and res2, (N, C, h, w).
        trade_offs: lambda of each quality, bits per pixel for a unit of distortion.
    """
    worth = _worth(features)
    with torch.no_grad():
        for convolution in map(_convolution, (*codec.analysis.to_latent, *codec.synthesis.top_down.to_lateral)):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(_bias(convolution))
        laterals = [_positions(features[level].double()) for level in LATERALS]
        for place in (0, 1):
            components = _principal_components(laterals[place], codec.shape.latents[place])
            _start_way(codec, place, components, len(components.mean))
            _start_steps(codec, place, components, worth[place], trade_offs)
        _start_finest(codec, detector, laterals[2], features["res2"].double(), worth, trade_offs)


def started_parameters(codec: CodecNetwork) -> list[nn.Parameter]:
    """What does not start at random or zero: the linear way and the detector's output convolutions."""
    analysis, synthesis = codec.analysis, codec.synthesis
    modules = [
        analysis.linear,
        analysis.linear_res2,
        synthesis.linear,
        synthesis.linear_res2,
        synthesis.top_down.outputs,
    ]
    return [weights for module in modules for weights in module.parameters()]


def _start_finest(
    codec: CodecNetwork,
    detector: GeneralizedRCNN,
    lateral3: Tensor,
    res2: Tensor,
    worth: Sequence[float],
    trade_offs: Sequence[float],
) -> None:
    """y2: components of lateral3 and of res2 together, four positions of which lie in one of y2's."""
    convolution = detector.backbone.fpn_lateral2
    # The square root of W^T W: its product with res2 is as long as the lateral that W makes.
    weight = convolution.weight.flatten(1).double()
    values, vectors = torch.linalg.eigh(weight.T @ weight)
    scale = math.sqrt(worth[3] / 4 / worth[2])
    root = scale * vectors @ values.clamp_min(0).sqrt().diag() @ vectors.T
    inverse = torch.linalg.pinv(root, hermitian=True)
    fine = F.pixel_unshuffle(res2, 2)  # (N, channels * 4, h, w): the four positions of a channel follow one another
    channels = res2.shape[1]
    weighed = torch.einsum("ij,njphw->niphw", root, torch.unflatten(fine, 1, (channels, 4))).flatten(1, 2)
    components = _principal_components(torch.cat([lateral3, _positions(weighed)], 1), codec.shape.latents[2])
    split = lateral3.shape[1]
    _start_way(codec, 2, components, split)
    basis = torch.unflatten(components.basis[split:], 0, (channels, 4))
    forth = torch.unflatten(torch.einsum("jpk,ji->kip", basis, root), 2, (2, 2))
    codec.analysis.linear_res2.weight.copy_(forth)
    up, to_lateral = codec.synthesis.linear_res2
    assert isinstance(up, Up)
    expand = _convolution(up.expand)
    expand.weight.copy_(torch.einsum("ij,jpk->ipk", inverse, basis).flatten(0, 1)[:, :, None, None])
    mean = torch.unflatten(components.mean[split:], 0, (channels, 4))
    _bias(expand).copy_((inverse @ mean).flatten())
    to_lateral.load_state_dict(convolution.state_dict())
    _start_steps(codec, 2, components, worth[2], trade_offs)


def _start_way(codec: CodecNetwork, place: int, components: _Components, channels: int) -> None:
    """The linear way from the first so many of the components' numbers to a latent, and back."""
    forth, back = _convolution(codec.analysis.linear[place]), _convolution(codec.synthesis.linear[place])
    forth.weight.copy_(components.basis[:channels].T[:, :, None, None])
    _bias(forth).copy_(-components.basis.T @ components.mean)
    back.weight.copy_(components.basis[:channels, :, None, None])
    _bias(back).copy_(components.mean[:channels])
    # The nonlinear way sees all components alike.
    entry, deviation = _convolution(codec.synthesis.from_latent[place]), components.deviation
    entry.weight.div_(torch.where(deviation > _SMALLEST_DEVIATION, deviation, 1)[None, :, None, None])


def _start_steps(
    codec: CodecNetwork, place: int, components: _Components, worth: float, trade_offs: Sequence[float]
) -> None:
    """Gains and tables: for each quality the step at which a bit more buys what lambda says it is worth."""
    # d/ds of -log2(s) / stride**2 + lambda * worth / 4 * s**2 / 12 is zero there; 4 levels share the distortion.
    squares = [24 / (LATENT_STRIDES[place] ** 2 * math.log(2) * trade_off * worth) for trade_off in trade_offs]
    log_gain = -0.5 * torch.log(torch.tensor(squares))[:, None]
    codec.gains.log_gain[place].copy_(log_gain.expand_as(codec.gains.log_gain[place]))
    codec.gains.log_inverse[place].copy_(-codec.gains.log_gain[place])
    prior = codec.priors[place]
    assert isinstance(prior, ContextPrior)
    prior.start(torch.exp(log_gain) * components.deviation.float())


def _convolution(module: nn.Module) -> nn.Conv2d:
    """One of a list of convolutions: a list of modules does not say what it holds."""
    assert isinstance(module, nn.Conv2d)
    return module


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _worth(features: Mapping[str, Tensor]) -> list[float]:
    """What a unit of squared error of lateral5 … lateral2 adds to the levels' normalized errors, in sum.

    A lateral is part of the sums of its own level and of all finer ones. Output convolutions are taken for isotropic.
    """
    worth, total = [], 0.0
    for level in ("inner2", "inner3", "inner4", "inner5"):
        variance = max(float(features[level].double().var()), _SMALLEST_DEVIATION**2)
        total += 1 / (features[level].shape[1] * variance)
        worth.append(total)
    return worth[::-1]


def _positions(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N * h * w, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _principal_components(numbers: Tensor, count: int) -> _Components:
    """Of (n, d) numbers."""
    mean = numbers.mean(0)
    centered = numbers - mean
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
    deviation = values.flip(0)[:count].clamp_min(0).sqrt()
    beyond = count - len(deviation)
    return _Components(mean, F.pad(vectors.flip(1)[:, :count], (0, beyond)), F.pad(deviation, (0, beyond)))
