"""The network in another precision than its weights."""

from __future__ import annotations

import torch

from ..precision import Precision


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Convolutions and matrix products in bfloat16 where ``precision`` says so; float32 untouched otherwise."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
