"""The entropy model while it is trained: the integer context model of ``keyfpn.protocol.context``, differentiable.

Which scale a symbol's table has is a linear function of the activities, the bits of |y|, of symbols decoded before it,
and where its middle lies is one of its four neighbours. Here these functions have real weights and "scale k" is a
logistic distribution of a scale that grows geometrically with k, around the prediction. After training the weights are
rounded to integers and the tables are counted (``training.codecs.learned.tables``); the logistic is gone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from keyfpn.protocol.context import ACTIVITY_MAX, PHASES, PREDICTION_SHIFT, SCALE_SHIFT

from .widths import take_common

SCALES = 32
"""Of each latent's tables."""
_SMALLEST_SCALE, _LARGEST_SCALE = 0.05, 40.0
_LOG_STEP = math.log(_LARGEST_SCALE / _SMALLEST_SCALE) / (SCALES - 1)
_WEIGHT_LIMIT = 127 / (1 << SCALE_SHIFT)
_PREDICTION_LIMIT = 127 / (1 << PREDICTION_SHIFT)
_FIRST_PREDICTION = 0.1
"""Of each neighbour, before training."""
_FARTHEST = 25.0  # in scales: a probability of 1e-11 and less
_BIAS_UNIT = 8.0  # in scales: a bias crosses them at the learning rate of the other weights


class ContextPrior(nn.Module):
    """The entropy model of one latent."""

    def __init__(self, groups: Sequence[int], coarse_channels: int, qualities: int) -> None:
        """Start without context: every symbol's scale follows from its channel and the quality.

        Args:
            groups: channels of each channel group, in coding order.
            coarse_channels: channels of the latent coded before; 0 for the first.
            qualities: how many.
        """
        super().__init__()
        self.groups = tuple(groups)
        channels = sum(groups)
        self.bias = nn.Parameter(torch.full((qualities, 2, channels), 0.5 * SCALES / _BIAS_UNIT))
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.zeros(size, sum(groups[: place + 1]), 3, 3)) for place, size in enumerate(groups)
        )
        self.coarse = nn.Parameter(torch.zeros(channels, coarse_channels)) if coarse_channels else None
        self.prediction = nn.Parameter(torch.full((qualities, channels, 4), _FIRST_PREDICTION))

    def start(self, scales: Tensor) -> None:
        """Start with the tables of symbols that deviate by (qualities, channels) scales."""
        index = torch.log(scales / _SMALLEST_SCALE) / _LOG_STEP
        with torch.no_grad():
            self.bias.copy_(index.clamp(0, SCALES - 1)[:, None] / _BIAS_UNIT)

    def forward(self, noisy: Tensor, rounded: Tensor, coarse: Tensor | None, quality: Tensor) -> Tensor:
        """The information content of a latent.

        Args:
            noisy: (N, C, h, w) float32, the latent with uniform noise of width 1, or the rounded one.
            rounded: (N, C, h, w), the latent's integers, which the context is computed from; the prediction's gradient
                passes through them.
            coarse: (N, C', h / r, w / r), the integers of the latent before; None for the first.
            quality: (N,) int64, from 0 on.

        Returns:
            (N, C, h, w) bits, differentiable in ``noisy`` and the parameters.
        """
        index = _within(self._index(rounded, coarse, quality), 0, SCALES - 1)
        return -torch.log2(_probability(noisy - self._predict(rounded, quality), index))

    def _predict(self, rounded: Tensor, quality: Tensor) -> Tensor:
        weights = self.prediction[quality].clamp(-_PREDICTION_LIMIT, _PREDICTION_LIMIT)[..., None, None]
        height, width = rounded.shape[2:]
        around = F.pad(rounded, (1, 1, 1, 1))
        above, left, right, below = (
            around[:, :, di : di + height, dj : dj + width] for di, dj in ((0, 1), (1, 0), (1, 2), (2, 1))
        )
        total = sum(weights[:, :, place] * known for place, known in enumerate((above, left, right, below)))
        return total * (1 - _even(rounded))

    def _index(self, rounded: Tensor, coarse: Tensor | None, quality: Tensor) -> Tensor:
        activity = _activity(rounded)
        height, width = activity.shape[2:]
        even = _even(activity)
        parts, start = [], 0
        for size, kernel in zip(self.groups, self.kernels, strict=True):
            kernel = kernel.clamp(-_WEIGHT_LIMIT, _WEIGHT_LIMIT)
            total = F.conv2d(activity[:, start : start + size] * even, kernel[:, start:], padding=1) * (1 - even)
            if start:
                total = total + F.conv2d(activity[:, :start], kernel[:, :start], padding=1)
            parts.append(total)
            start += size
        index = torch.cat(parts, 1)
        if self.coarse is not None and coarse is not None:
            weights = self.coarse.clamp(-_WEIGHT_LIMIT, _WEIGHT_LIMIT)[:, :, None, None]
            known = F.conv2d(_activity(coarse), weights)
            ratio = -(-height // known.shape[2])
            known = known.repeat_interleave(ratio, 2).repeat_interleave(ratio, 3)
            index = index + known[:, :, :height, :width]
        first, second = (_BIAS_UNIT * self.bias[quality]).unbind(1)
        return index + first[:, :, None, None] * even + second[:, :, None, None] * (1 - even)

    def integers(self) -> dict[str, Any]:
        """The context model in integers: all arrays of ``keyfpn.protocol.latent.LatentModel`` but the tables."""
        with torch.no_grad():
            # Half a step more, because the decoder rounds the index down.
            return {
                "bias": torch.round((_BIAS_UNIT * self.bias + 0.5) * (1 << SCALE_SHIFT)).to(torch.int32).cpu().numpy(),
                "kernels": tuple(_rounded(kernel, SCALE_SHIFT) for kernel in self.kernels),
                "coarse": None if self.coarse is None else _rounded(self.coarse, SCALE_SHIFT),
                "prediction": _rounded(self.prediction, PREDICTION_SHIFT),
            }

    def take_integers(self, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
        """Start from a published context model: what :meth:`integers` gave, ``kernels`` as ``kernel0`` and so on.

        Returns:
            The names of what stays as it is, or a part of which does, because nothing of its size was published.
        """
        own = {"bias": self.bias, "prediction": self.prediction}
        own |= {f"kernel{place}": kernel for place, kernel in enumerate(self.kernels)}
        if self.coarse is not None:
            own["coarse"] = self.coarse
        published = {}
        for name in own.keys() & arrays.keys():
            shift = PREDICTION_SHIFT if name == "prediction" else SCALE_SHIFT
            weights = torch.from_numpy(arrays[name]) / (1 << shift)
            published[name] = (weights - 0.5) / _BIAS_UNIT if name == "bias" else weights
        with torch.no_grad():
            return sorted(name for name in own if name not in published or not take_common(own[name], published[name]))


def table_probabilities(bound: int) -> NDArray[np.float64]:
    """The distribution that training takes each table for: (PHASES * SCALES, 2 bound + 1), of -bound to bound."""
    residuals = torch.arange(-bound, bound + 1, dtype=torch.float64)
    scales = torch.arange(SCALES, dtype=torch.float64)[:, None]
    # The first phase is that of all symbols without a prediction, too.
    middles = [(phase + 0.5) / (2 * PHASES) if phase else 0.0 for phase in range(PHASES)]
    probabilities = torch.cat([_probability(residuals - middle, scales) for middle in middles])
    return (probabilities / probabilities.sum(1, keepdim=True)).numpy()


def _probability(distance: Tensor, scale: Tensor) -> Tensor:
    """Of a symbol, or of one with noise, at a distance from the middle of a logistic distribution."""
    width = _SMALLEST_SCALE * torch.exp(_LOG_STEP * scale) * (math.sqrt(3) / math.pi)
    # Both tails alike: the difference of two sigmoids keeps its digits on the negative side, and what lies so far out
    # that its probability would vanish counts as less far, with its gradient.
    distance, half = _within(distance.abs() / width, 0, _FARTHEST), 0.5 / width
    return torch.sigmoid(half - distance) - torch.sigmoid(-half - distance)


def _even(latent: Tensor) -> Tensor:
    """(h, w): 1 at the positions of the first pass, 0 at those of the second."""
    rows, columns = (torch.arange(side, device=latent.device) for side in latent.shape[2:])
    return ((rows[:, None] + columns) % 2 == 0).to(latent.dtype)


def _activity(symbols: Tensor) -> Tensor:
    _, bits = torch.frexp(symbols.detach())
    return bits.clamp_max(ACTIVITY_MAX).to(symbols.dtype)


def _rounded(weights: Tensor, shift: int) -> Any:
    limit = (1 << 7) - 1
    return torch.round(weights * (1 << shift)).clamp(-limit, limit).to(torch.int8).cpu().numpy()


class _Bound(torch.autograd.Function):
    """Clamp whose gradient also passes where it leads back inside (the lower bound of arXiv 1802.01436, both ways)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (x,), (low, high) = gradients, ctx.saved_tensors, ctx.bounds
        inside = ((x >= low) | (gradient < 0)) & ((x <= high) | (gradient > 0))
        return gradient * inside, None, None


def _within(x: Tensor, low: float, high: float) -> Tensor:
    bounded: Tensor = _Bound.apply(x, low, high)  # type: ignore[no-untyped-call]
    return bounded
