"""The codecs `raw` and `interpolate` through the packet: every precision, coder and source of ranges."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.protocol.chunk import Chunk, Float, Latent
from keyfpn.protocol.errors import ConfigurationError, FingerprintMismatch, InvalidField, ProtocolError
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import fit_ranges
from keyfpn.reconstruct.codec import LEVELS, build_codec, codec_of
from keyfpn.reconstruct.fit import ParameterFitter
from keyfpn.reconstruct.parameters import Parameters
from tests.reconstruct.packets import packet_of

FINGERPRINT = b"8 bytes."


@pytest.fixture(scope="module")
def fitted_model(tmp_path_factory: pytest.TempPathFactory, features: dict[str, Tensor]) -> Model:
    """A model folder whose ranges and mixes were fitted to `features`."""
    folder = tmp_path_factory.mktemp("fitted")
    fitter = ParameterFitter()
    fitter.add(features)
    fitter.fit().write(folder)
    return Model("fitted", open_model().cfg, folder / "none", Manifest.of_folder(folder), folder)


@pytest.fixture(scope="module")
def bare_model() -> Model:
    """A detector without fitted parameters."""
    return Model("bare", open_model().cfg, Path("none"), Manifest("bare"), None)


def through_the_wire(
    settings: str, model: Model, features: dict[str, Tensor], geometry: Geometry
) -> dict[str, Tensor]:
    packet = packet_of(build_codec(settings, model), model, features, geometry.network_size)
    return codec_of(packet, model).decode(packet.chunks, geometry)


def error_of(rebuilt: Tensor, true: Tensor) -> float:
    """Squared error over variance."""
    return float((rebuilt - true).square().mean() / true.var())


def test_raw_fp32_is_lossless_and_p6_is_exact(
    fitted_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    rebuilt = through_the_wire("raw:precision=fp32", fitted_model, features, geometry)
    assert list(rebuilt) == list(LEVELS)
    for level in LEVELS:
        assert torch.equal(rebuilt[level], features[level])


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
    assert str(build_codec(settings, fitted_model).settings) == settings
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
        codec = build_codec(f"raw:levels=p5,precision=int4,coder=store,ranges={ranges}", fitted_model)
        return len(packet_of(codec, fitted_model, features, geometry.network_size).serialize())

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


def test_raw_leaves_levels_it_was_not_given_at_zero(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    rebuilt = through_the_wire("raw:levels=p3+p6,precision=fp32", bare_model, features, geometry)
    for level in ("p3", "p6"):
        assert torch.equal(rebuilt[level], features[level])
    for level in ("p2", "p4", "p5"):
        assert rebuilt[level].shape == features[level].shape
        assert not rebuilt[level].any()


def test_defaults_use_the_models_ranges_where_it_has_them(
    fitted_model: Model, bare_model: Model
) -> None:
    assert (
        str(build_codec("raw", fitted_model).settings) == "raw:levels=p2+p3+p4+p5,precision=int8,coder=ans,ranges=model"
    )
    assert str(build_codec("interpolate", bare_model).settings).endswith(
        "levels=p3+p5,precision=int8,coder=ans,ranges=picture"
    )


def test_provenance_says_that_p6_is_exact(bare_model: Model) -> None:
    words = build_codec("raw", bare_model).provenance()
    assert words["p5"] == "sent"
    assert words["p6"] == "exact from p5 (max-pool, kernel 1, stride 2)"
    words = build_codec("raw:levels=p2+p6", bare_model).provenance()
    assert words["p6"] == "sent"
    assert words["p5"] == "not sent: zeros"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("raw:precision=fp32,coder=ans", "ans codes integers only"),
        ("raw:precision=int9", "expected precision to be one of fp32, fp16, int2"),
        ("raw:coder=zip", "expected coder to be one of store, zstd, ans"),
        ("raw:levels=p7", "expected levels among p2, p3, p4, p5, p6"),
        ("raw:levels=p3+p3", "each once"),
        ("raw:precision=fp16,ranges=picture", "fp16 has no ranges"),
        ("raw:ranges=model", "has no fitted int8 ranges"),
        ("raw:quality=3", "expected options among levels, precision, coder, ranges, found quality"),
        ("nothing", "expected a codec among interpolate, learned, network, raw"),
    ],
)
def test_settings_that_cannot_work_are_refused(bare_model: Model, settings: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_codec(settings, bare_model)


def test_packet_of_another_model_is_refused(
    fitted_model: Model, bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = packet_of(build_codec("raw", fitted_model), fitted_model, features, geometry.network_size)
    with pytest.raises(FingerprintMismatch) as caught:
        codec_of(packet, bare_model)
    assert fitted_model.fingerprint.hex() in str(caught.value)
    assert bare_model.fingerprint.hex() in str(caught.value)


def remake(packet: Packet, **changes: object) -> Packet:
    return Packet.parse(Packet(**{**vars(packet), **changes}).serialize())


def test_packets_that_no_edge_writes_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = packet_of(build_codec("raw:precision=fp32", bare_model), bare_model, features, geometry.network_size)
    latent = Chunk("y0", "ans", Latent(), b"")
    for wrong in (
        remake(packet, codec="learned"),
        remake(packet, chunks=()),
        remake(packet, chunks=(latent,)),
        remake(packet, chunks=(Chunk("p7", "store", Float(), b"\0" * 4),)),
    ):
        with pytest.raises(InvalidField):
            codec_of(wrong, bare_model)


def test_features_of_another_picture_size_are_refused(
    bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    other = Geometry(network_size=(90, 200), channels=geometry.channels, size_divisibility=32)
    for settings in ("raw:precision=fp32", "raw:precision=int4,coder=ans", "interpolate:precision=int2,coder=zstd"):
        packet = packet_of(build_codec(settings, bare_model), bare_model, features, geometry.network_size)
        with pytest.raises(ProtocolError):
            codec_of(packet, bare_model).decode(packet.chunks, other)


def test_sent_ranges_of_other_channels_are_refused(bare_model: Model, geometry: Geometry) -> None:
    ranges = fit_ranges(np.zeros((3, 4), np.float32), 4)
    codec = build_codec("raw:levels=p5,precision=int4,coder=store,ranges=picture", bare_model)
    feature = torch.zeros(1, *geometry.level_shape("p5"))
    (chunk,) = codec.encode({"p5": feature})
    wrong = Chunk(chunk.level, chunk.coder, type(chunk.quantization)(4, ranges), chunk.payload)
    with pytest.raises(InvalidField, match="ranges of p5"):
        codec.decode([wrong], geometry)


def test_parameters_survive_their_files(fitted_model: Model, features: dict[str, Tensor]) -> None:
    fitter = ParameterFitter()
    fitter.add(features)
    fitted, read = fitter.fit(), Parameters.of(fitted_model)
    assert read.ranges == fitted.ranges
    assert read.mixes == fitted.mixes
    assert set(read.ranges) == set(itertools.product(LEVELS, range(2, 9)))
