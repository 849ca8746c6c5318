"""Which numbers a network computes with."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "bf16"]
"""Of convolutions and matrix products; features come out as float32 either way."""
