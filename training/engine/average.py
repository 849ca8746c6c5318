"""The moving average of a network's weights, which is what gets evaluated and published."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


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

    def update(averages: list[Tensor], values: list[Tensor], count: Tensor) -> None:
        updates = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + updates) / (10 + updates)))(averages, values, count)

    return AveragedModel(model, multi_avg_fn=update)
