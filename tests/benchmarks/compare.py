"""Whether detections are the same."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(found: Any, expected: Any) -> None:
    """Bit for bit."""
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
