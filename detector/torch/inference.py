"""Networks as they compute: no gradients, no training, channels last."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network, device: str = "cpu") -> Network:
    """The network itself, in evaluation mode, on a device; its convolutions are faster with channels last."""
    network.eval().requires_grad_(False).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's own types
    return network
