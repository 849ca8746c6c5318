"""The entropy model while it is being trained: the integer context model of ``protocol.context``, differentiable.

Which table codes a symbol is a linear function of the activities, the bits of |y|, of symbols decoded before it. Here
that function has real weights and "table k" is a logistic distribution of a scale that grows geometrically with k.
After training the weights are rounded to integers and the tables are counted (``training.tables``); the logistic is
gone.
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

from protocol.context import ACTIVITY_MAX, INDEX_SHIFT

TABLES = 64
"""Tables of each latent."""
_SMALLEST_SCALE, _LARGEST_SCALE = 0.05, 40.0
_LOG_STEP = math.log(_LARGEST_SCALE / _SMALLEST_SCALE) / (TABLES - 1)
_WEIGHT_LIMIT = 127 / (1 << INDEX_SHIFT)
_FARTHEST = 25.0  # in scales: a probability of 1e-11 and less
_BIAS_UNIT = 16.0  # in tables: a bias crosses them at the learning rate of the other weights


class ContextPrior(nn.Module):
    """The entropy model of one latent."""

    def __init__(self, groups: Sequence[int], coarse_channels: int, qualities: int) -> None:
        """Start without context: every symbol's table follows from its channel and the quality.

        Args:
            groups: channels of each channel group, in coding order.
            coarse_channels: channels of the latent coded before; 0 for the first.
            qualities: how many.
        """
        super().__init__()
        self.groups = tuple(groups)
        channels = sum(groups)
        self.bias = nn.Parameter(torch.full((qualities, 2, channels), 0.5 * TABLES / _BIAS_UNIT))
        self.kernels = nn.ParameterList(
            nn.Parameter(torch.zeros(size, sum(groups[: place + 1]), 3, 3)) for place, size in enumerate(groups)
        )
        self.coarse = nn.Parameter(torch.zeros(channels, coarse_channels)) if coarse_channels else None

    def start(self, scales: Tensor) -> None:
        """Start with the tables of symbols that deviate by (qualities, channels) scales."""
        index = torch.log(scales / _SMALLEST_SCALE) / _LOG_STEP
        with torch.no_grad():
            self.bias.copy_(index.clamp(0, TABLES - 1)[:, None] / _BIAS_UNIT)

    def forward(self, noisy: Tensor, rounded: Tensor, coarse: Tensor | None, quality: Tensor) -> Tensor:
        """The information content of a latent.

        Args:
            noisy: (N, C, h, w) float32, the latent with uniform noise of width 1, or the rounded one.
            rounded: (N, C, h, w), the latent's integers, which the context is computed from.
            coarse: (N, C', h / r, w / r), the integers of the latent before; None for the first.
            quality: (N,) int64, from 0 on.

        Returns:
            (N, C, h, w) bits, differentiable in ``noisy`` and the parameters.
        """
        index = _within(self._index(rounded, coarse, quality), 0, TABLES - 1)
        return -torch.log2(_probability(noisy, index))

    def _index(self, rounded: Tensor, coarse: Tensor | None, quality: Tensor) -> Tensor:
        activity = _activity(rounded)
        height, width = activity.shape[2:]
        rows, columns = (torch.arange(side, device=activity.device) for side in (height, width))
        even = ((rows[:, None] + columns) % 2 == 0).to(activity.dtype)
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
        """The context model in integers, as ``protocol.latent.LatentModel`` takes it: bias, kernels and coarse."""
        with torch.no_grad():
            # Half a step more, because the decoder rounds the index down.
            return {
                "bias": torch.round((_BIAS_UNIT * self.bias + 0.5) * (1 << INDEX_SHIFT)).to(torch.int32).cpu().numpy(),
                "kernels": tuple(_rounded(kernel) for kernel in self.kernels),
                "coarse": None if self.coarse is None else _rounded(self.coarse),
            }

    def take_integers(self, arrays: Mapping[str, np.ndarray]) -> list[str]:
        """Start from a published context model: what :meth:`integers` gave, ``kernels`` as ``kernel0`` and so on.

        Returns:
            The names of what stays as it is, because nothing of its size was published.
        """
        own = {"bias": self.bias} | {f"kernel{place}": kernel for place, kernel in enumerate(self.kernels)}
        if self.coarse is not None:
            own["coarse"] = self.coarse
        fitting = {name for name, weights in own.items() if name in arrays and arrays[name].shape == weights.shape}
        with torch.no_grad():
            for name in fitting:
                weights = torch.from_numpy(arrays[name]) / (1 << INDEX_SHIFT)
                own[name].copy_((weights - 0.5) / _BIAS_UNIT if name == "bias" else weights)
        return sorted(set(own) - fitting)


def table_probabilities(bound: int) -> NDArray[np.float64]:
    """The distribution that training takes each table for: (TABLES, 2 bound + 1), of the symbols -bound to bound."""
    symbols = torch.arange(-bound, bound + 1, dtype=torch.float64)
    probabilities = _probability(symbols, torch.arange(TABLES, dtype=torch.float64)[:, None])
    return (probabilities / probabilities.sum(1, keepdim=True)).numpy()


def _probability(symbols: Tensor, index: Tensor) -> Tensor:
    """Of a symbol, or of one with noise, under the logistic distribution of a table's scale."""
    scale = _SMALLEST_SCALE * torch.exp(_LOG_STEP * index) * (math.sqrt(3) / math.pi)
    # Both tails alike: the difference of two sigmoids keeps its digits on the negative side, and what lies so far out
    # that its probability would vanish counts as less far, with its gradient.
    distance, half = _within(symbols.abs() / scale, 0, _FARTHEST), 0.5 / scale
    return torch.sigmoid(half - distance) - torch.sigmoid(-half - distance)


def _activity(symbols: Tensor) -> Tensor:
    _, bits = torch.frexp(symbols.detach())
    return bits.clamp_max(ACTIVITY_MAX).to(symbols.dtype)


def _rounded(weights: Tensor) -> Any:
    limit = (1 << 7) - 1
    return torch.round(weights * (1 << INDEX_SHIFT)).clamp(-limit, limit).to(torch.int8).cpu().numpy()


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
    return _Bound.apply(x, low, high)
