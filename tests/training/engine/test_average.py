from __future__ import annotations

import pytest
import torch
from torch import nn

from keyfpn.training.engine.average import moving_average


def network(value: float) -> nn.Module:
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, value)
    return module


def test_it_follows_the_recurrence_of_tensorflows_moving_average() -> None:
    model = network(0.0)
    average = moving_average(model, decay=0.9)
    expected = 0.0
    for count in range(200):
        value = float(count % 7)
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        decay = min(0.9, (1 + count) / (10 + count))
        expected = value if count == 0 else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_before_the_first_update_it_is_the_network_and_shares_nothing_with_it() -> None:
    model = network(3.0)
    average = moving_average(model, decay=0.999)
    nn.init.constant_(model.weight, 4.0)
    assert average.module.weight.item() == 3.0


def test_a_young_average_forgets_its_start() -> None:
    model = network(100.0)
    average = moving_average(model, decay=0.999)
    average.update_parameters(model)
    nn.init.constant_(model.weight, 0.0)
    for _ in range(100):
        average.update_parameters(model)
    assert average.module.weight.item() < 1e-3  # a constant 0.999 would leave 90


def test_buffers_are_those_of_the_network() -> None:
    model = network(1.0)
    average = moving_average(model, decay=0.999)
    for _ in range(3):
        model.running_mean.add_(1)
        average.update_parameters(model)
    assert torch.equal(average.module.running_mean, model.running_mean)
