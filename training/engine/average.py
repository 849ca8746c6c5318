"""The moving average of a network's weights, which is what gets evaluated and published."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's parameters that forgets fast while it is young.

    After ``n`` updates the decay is ``min(decay, (1 + n) / (10 + n))``, as in TensorFlow's
    ``ExponentialMovingAverage(num_updates=n)``: with a constant 0.999, a run of a few hundred steps would publish
    little but its random start. Buffers are copied, not averaged.

    Args:
        model: what to average; copied, not shared.
        decay: of the grown average, below 1.

    Returns:
        The average; call ``update_parameters(model)`` after each optimizer step, read the network in ``module``.
    """

    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        updates = int(count)
        now = min(decay, (1 + updates) / (10 + updates))
        get_ema_multi_avg_fn(now)(averages, values, count)  # type: ignore[no-untyped-call]

    return AveragedModel(model, multi_avg_fn=update)
