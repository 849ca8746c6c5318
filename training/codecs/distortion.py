"""What a rebuilt pyramid lost, as training weighs it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from keyfpn.reconstruct.layers import REBUILT

from .detector_view import DetectorView, Observation
from .recipe import DistortionWeights


def distortion(
    view: DetectorView, truth: Observation, pyramid: Mapping[str, Tensor], weights: DistortionWeights
) -> dict[str, Tensor]:
    """The weighed parts of the distortion of a rebuilt pyramid, scalars by name.

    Args:
        view: of the frozen detector.
        truth: what it saw in the pictures.
        pyramid: p2 … p5, (N, C, h, w).
        weights: of the parts.
    """
    parts = {}
    if weights.feature:
        parts["feature"] = weights.feature * feature_error(truth.features, pyramid)
    if weights.rpn or weights.box:
        seen = view.differences(truth, pyramid)
        parts |= {"rpn": weights.rpn * seen["rpn"], "box": weights.box * seen["box"]}
    return parts


def feature_error(truth: Mapping[str, Tensor], pyramid: Mapping[str, Tensor]) -> Tensor:
    """The mean of :func:`level_errors`."""
    return torch.stack(list(level_errors(truth, pyramid).values())).mean()


def level_errors(truth: Mapping[str, Tensor], pyramid: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean squared error of p2 … p5, each by the variance of the true level in the batch."""
    errors = {}
    for level in REBUILT:
        true = truth[level].float()
        errors[level] = F.mse_loss(pyramid[level].float(), true) / true.var()
    return errors
