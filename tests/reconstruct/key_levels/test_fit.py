from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.key_levels.fit import ParameterFitter, rounded_mix
from keyfpn.reconstruct.key_levels.parameters import Parameters
from keyfpn.reconstruct.registry import open_codec
from tests.reconstruct.models import published
from tests.reconstruct.packets import receive, send


def test_least_squares_finds_the_mix_that_made_a_level(
    tmp_path: Path, pyramid: Pyramid, features: dict[str, Tensor], geometry: Geometry
) -> None:
    up = F.interpolate(features["p5"], scale_factor=2, mode="bilinear", align_corners=False)
    made = {**features, "p4": 0.3 * up + 0.9 * F.avg_pool2d(features["p3"], 2)}
    fitter = ParameterFitter(pyramid)
    fitter.add(made)
    parameters = fitter.fit()
    assert parameters.mixes["p4", "p3", "p5"] == pytest.approx((0.3, 0.9), abs=1e-3)
    fitted = published(tmp_path / "fitted", parameters)
    assert Parameters.of(fitted).mixes == parameters.mixes
    packet = send("interpolate:levels=p3+p5,precision=fp32", fitted, made, geometry.network_size)
    torch.testing.assert_close(receive(packet, fitted)["p4"], made["p4"], atol=2e-3, rtol=0)
    words = open_codec("interpolate", fitted).provenance(packet.key_levels)
    assert words["p4"] == "0.3 * up(p5) + 0.9 * down(p3)"
    assert words["p2"] == "bilinear from p3"


def test_levels_that_follow_from_others_need_not_be_given(pyramid: Pyramid, features: dict[str, Tensor]) -> None:
    whole, independent = ParameterFitter(pyramid), ParameterFitter(pyramid)
    whole.add(features)
    independent.add({level: features[level] for level in pyramid.independent})
    assert whole.fit() == independent.fit()


def test_the_fit_needs_a_picture(pyramid: Pyramid) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        ParameterFitter(pyramid).fit()


def test_a_mix_has_the_digits_of_settings() -> None:
    assert rounded_mix(0.123456, -0.00001) == (0.1235, 0.0)
    assert str(rounded_mix(0.0, -0.00001)[1]) == "0.0"
