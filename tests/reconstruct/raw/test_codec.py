from __future__ import annotations

import torch
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.registry import open_codec
from tests.reconstruct.packets import receive, send


def test_fp32_is_lossless_and_p6_is_exact(fitted_model: Model, features: dict[str, Tensor], geometry: Geometry) -> None:
    rebuilt = receive(send("raw:precision=fp32", fitted_model, features, geometry.network_size), fitted_model)
    assert tuple(rebuilt) == fitted_model.pyramid.levels
    for level in fitted_model.pyramid.levels:
        assert torch.equal(rebuilt[level], features[level])


def test_levels_that_were_not_sent_are_zero(bare_model: Model, features: dict[str, Tensor], geometry: Geometry) -> None:
    packet = send("raw:levels=p3+p6,precision=fp32", bare_model, features, geometry.network_size)
    rebuilt = receive(packet, bare_model)
    for level in ("p3", "p6"):
        assert torch.equal(rebuilt[level], features[level])
    for level in ("p2", "p4", "p5"):
        assert rebuilt[level].shape == features[level].shape
        assert not rebuilt[level].any()


def test_provenance_says_that_p6_is_exact(bare_model: Model) -> None:
    words = open_codec("raw", bare_model).provenance(("p2", "p3", "p4", "p5"))
    assert words["p5"] == "sent"
    assert words["p6"] == "exact from p5 (max-pool, kernel 1, stride 2)"
    words = open_codec("raw", bare_model).provenance(("p2", "p6"))
    assert words["p6"] == "sent"
    assert words["p5"] == "not sent: zeros"
