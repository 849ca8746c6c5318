"""What `raw` and `interpolate` share, through the packet: every precision, coder and source of ranges."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk, Float, Latent
from keyfpn.protocol.errors import InvalidField, LimitExceeded, ProtocolError
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import fit_ranges
from keyfpn.reconstruct.registry import open_codec, open_encoder
from tests.reconstruct.packets import receive, send, unpack


def through_the_wire(settings: str, model: Model, features: dict[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
    return receive(send(settings, model, features, geometry.network_size), model)


def error_of(rebuilt: Tensor, true: Tensor) -> float:
    """Squared error over variance."""
    return float((rebuilt - true).square().mean() / true.var())


@pytest.mark.parametrize("codec", ["raw", "interpolate"])
@pytest.mark.parametrize(
    ("precision", "coder", "ranges"),
    [
        *itertools.product(("fp32", "fp16"), ("store", "zstd"), (None,)),
        *itertools.product([f"int{b}" for b in range(2, 9)], ("store", "zstd", "ans"), ("model", "picture", "minmax")),
    ],
)
def test_every_setting_brings_key_levels_back_within_its_precision(
    fitted_model: Model,
    features: dict[str, Tensor],
    geometry: Geometry,
    codec: str,
    precision: str,
    coder: str,
    ranges: str | None,
) -> None:
    settings = f"{codec}:levels=p3+p5,precision={precision},coder={coder}" + (f",ranges={ranges}" if ranges else "")
    assert str(open_encoder(settings, fitted_model).settings) == settings
    rebuilt = through_the_wire(settings, fitted_model, features, geometry)
    # What a uniform quantizer of 2^b levels does to a Gaussian, with room for min-max's wider steps (J. Max, 1960).
    allowed = (
        {"fp32": 0.0, "fp16": 1e-6}.get(precision) if precision.startswith("fp") else 4.0 ** -int(precision[3:]) * 12
    )
    for level in ("p3", "p5"):
        assert rebuilt[level].dtype == torch.float32
        assert rebuilt[level].shape == features[level].shape
        assert error_of(rebuilt[level], features[level]) <= allowed
    assert torch.equal(rebuilt["p6"], rebuilt["p5"][:, :, ::2, ::2])


def test_ranges_of_the_model_travel_in_no_packet(
    fitted_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    def size(ranges: str) -> int:
        settings = f"raw:levels=p5,precision=int4,coder=store,ranges={ranges}"
        return len(send(settings, fitted_model, features, geometry.network_size).serialize())

    channels = geometry.channels
    assert size("picture") - size("model") == 1 + 4 * channels  # their count, then two bfloat16 a channel


def test_clipping_by_squared_error_beats_min_max(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    errors = {
        ranges: error_of(
            through_the_wire(f"raw:precision=int3,ranges={ranges}", bare_model, features, geometry)["p3"],
            features["p3"],
        )
        for ranges in ("picture", "minmax")
    }
    assert errors["picture"] < 0.8 * errors["minmax"]


def test_the_edge_reads_the_key_levels_themselves(bare_model: Model, features: dict[str, Tensor]) -> None:
    encoder = open_encoder("raw:levels=p3+p5", bare_model)
    analysis = encoder.codec.analysis(encoder)
    assert encoder.reads == encoder.inputs == ("p3", "p5")
    assert analysis.analyze(features) == {"p3": features["p3"], "p5": features["p5"]}


def remake(packet: Packet, **changes: object) -> Packet:
    return Packet.parse(replace(packet, **changes).serialize())


def test_packets_that_no_edge_writes_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = send("raw:precision=fp32", bare_model, features, geometry.network_size)
    latent = Chunk("y0", "ans", Latent(), b"")
    for wrong in (
        remake(packet, codec="learned"),
        remake(packet, chunks=()),
        remake(packet, chunks=(latent,)),
        remake(packet, chunks=(Chunk("p7", "store", Float(), b"\0" * 4),)),
    ):
        with pytest.raises(InvalidField):
            unpack(wrong, bare_model)
    message = r"levels of a raw packet: expected some of p2, p3, p4, p5, p6, .* found none"
    with pytest.raises(InvalidField, match=message):
        unpack(remake(packet, chunks=()), bare_model)
    with pytest.raises(InvalidField, match=r"levels of a raw packet: expected .*, found y0"):
        unpack(remake(packet, chunks=(latent,)), bare_model)


def test_features_of_another_picture_size_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    for settings in ("raw:precision=fp32", "raw:precision=int4,coder=ans", "interpolate:precision=int2,coder=zstd"):
        packet = send(settings, bare_model, features, geometry.network_size)
        with pytest.raises(ProtocolError):
            unpack(remake(packet, network_size=(90, 200)), bare_model)


def test_levels_beyond_the_limits_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = send("raw:levels=p3+p5", bare_model, features, geometry.network_size)
    elements = geometry.elements(["p3"])
    assert set(unpack(packet, bare_model, Limits(max_elements=elements)).arrays) == {"p3", "p5"}
    with pytest.raises(LimitExceeded, match=f"elements of p3: expected at most {elements - 1}, found {elements}"):
        unpack(packet, bare_model, Limits(max_elements=elements - 1))


def test_sent_ranges_of_other_channels_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    settings = "raw:levels=p5,precision=int4,coder=store,ranges=picture"
    packet = send(settings, bare_model, features, geometry.network_size)
    (chunk,) = packet.chunks
    ranges = fit_ranges(np.zeros((3, 4), np.float32), 4)
    wrong = Chunk(chunk.level, chunk.coder, type(chunk.quantization)(4, ranges), chunk.payload)
    with pytest.raises(InvalidField, match="ranges of p5"):
        unpack(replace(packet, chunks=(wrong,)), bare_model)


def test_ranges_that_the_servers_model_does_not_have_are_refused(
    fitted_model: Model, bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = send("raw:levels=p5,ranges=model", fitted_model, features, geometry.network_size)
    with pytest.raises(InvalidField, match="ranges of p5: expected 8 bits, 8 channels, found none"):
        unpack(replace(packet, fingerprint=bare_model.fingerprint), bare_model)


def test_provenance_says_what_was_sent_and_what_is_exact(bare_model: Model) -> None:
    for name in ("raw", "interpolate"):
        words = open_codec(name, bare_model).provenance(("p3", "p5"))
        assert list(words) == ["p2", "p3", "p4", "p5", "p6"]
        assert words["p3"] == words["p5"] == "sent"
        assert words["p6"] == "exact from p5 (max-pool, kernel 1, stride 2)"
        words = open_codec(name, bare_model).provenance(("p2", "p6"))
        assert words["p2"] == words["p6"] == "sent"
        assert open_codec(name, bare_model).provenance(("p2",))["p6"] == "max-pool of the rebuilt p5"
