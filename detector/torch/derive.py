"""The levels of a pyramid that follow exactly from others."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from ..pyramid import Pyramid


def with_derived(features: Mapping[str, Tensor], pyramid: Pyramid) -> dict[str, Tensor]:
    """Add each derived level whose source is there, and which itself is not.

    Args:
        features: levels, (N, C, h, w) each.
        pyramid: says what derives from what, by detectron2's ``LastLevelMaxPool``.
    """
    derived = {
        level: F.max_pool2d(features[source], kernel_size=1, stride=2)
        for level, source in pyramid.derived.items()
        if level not in features and source in features
    }
    return {**features, **derived}
