from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.protocol.errors import (
    ConfigurationError,
    CorruptPayload,
    FeatureError,
    FingerprintMismatch,
    InvalidField,
    LimitExceeded,
    ProtocolError,
)
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.learned.codec import LearnedCodec
from keyfpn.reconstruct.learned.files import read_coder, read_shape
from keyfpn.reconstruct.learned.shape import KEY_LEVELS
from keyfpn.reconstruct.registry import (
    codec_of,
    decodable_codecs,
    default_codec,
    open_codec,
    open_encoder,
    registered_codecs,
)
from tests.reconstruct.packets import random_arrays, receive, send, unpack

QUALITY_2 = "learned:quality=2"


def look(network: GeneralizedRCNN, height: int, width: int) -> dict[str, Tensor]:
    picture = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    return EdgeHalf(network, KEY_LEVELS)(picture)


@pytest.fixture(scope="module")
def features(network: GeneralizedRCNN) -> dict[str, Tensor]:
    """What the analysis reads of a picture of 90 x 120."""
    return look(network, 90, 120)


@pytest.fixture(scope="module")
def packet(learned_model: Model, features: dict[str, Tensor]) -> Packet:
    return send(QUALITY_2, learned_model, features, (90, 120))


def copy_without(model: Model, folder: Path, *missing: str) -> Model:
    """Open a copy of a model that lacks files."""
    assert model.folder is not None
    shutil.copytree(model.folder, folder, ignore=shutil.ignore_patterns(*missing))
    return open_model(folder)


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (90, 120), (32, 1000)])
def test_every_size_comes_back_in_the_shapes_of_the_geometry(
    learned_model: Model, network: GeneralizedRCNN, size: tuple[int, int]
) -> None:
    pyramid = receive(send(QUALITY_2, learned_model, look(network, *size), size), learned_model)
    geometry = learned_model.geometry(size)
    assert tuple(pyramid) == learned_model.pyramid.levels == ("p2", "p3", "p4", "p5", "p6")
    for level, feature in pyramid.items():
        assert feature.shape == (1, *geometry.level_shape(level))
        assert feature.isfinite().all()


def test_a_side_of_4000_pixels(learned_model: Model) -> None:
    geometry = learned_model.geometry((64, 4000))
    features = {
        level: torch.randn(1, 24 if level == "res2" else 128, *geometry.cells(1 << int(level[-1])))
        for level in KEY_LEVELS
    }
    pyramid = receive(send(QUALITY_2, learned_model, features, (64, 4000)), learned_model)
    assert pyramid["p2"].shape == (1, *geometry.level_shape("p2"))


def test_the_server_reads_what_the_edge_wrote(learned_model: Model, packet: Packet) -> None:
    assert [chunk.level for chunk in packet.chunks] == ["y0", "y1", "y2"]
    again = receive(packet, learned_model)
    for level, feature in receive(packet, learned_model).items():
        assert torch.equal(feature, again[level])
    assert torch.equal(again["p6"], again["p5"][:, :, ::2, ::2])
    words = codec_of(packet, learned_model).provenance(packet.key_levels)
    assert set(words) == set(learned_model.pyramid.levels)
    assert words["p2"] == "synthesis from y0, y1, y2"
    assert words["p6"] == "max-pool of the rebuilt p5"


def test_the_symbols_are_the_rounded_latents_times_the_gains(learned_model: Model, features: dict[str, Tensor]) -> None:
    encoder = open_encoder(QUALITY_2, learned_model)
    arrays = encoder.codec.analysis(encoder).arrays(features)
    unpacked = unpack(send(QUALITY_2, learned_model, features, (90, 120)), learned_model)
    for place, name in enumerate(("y0", "y1", "y2")):
        bound = encoder._coder.max_symbols[place]
        expected = np.rint(arrays[name] * encoder._gains[place]).clip(-bound, bound)
        assert np.array_equal(unpacked.arrays[name], expected)
        assert np.issubdtype(unpacked.arrays[name].dtype, np.integer)


def test_qualities_quantize_more_and_more_finely(learned_model: Model, features: dict[str, Tensor]) -> None:
    coder = read_coder(learned_model, read_shape(learned_model))
    sums = []
    for quality in (1, 2, 3):
        chunks = send(f"learned:quality={quality}", learned_model, features, (90, 120)).chunks
        latents = coder.decode(chunks, learned_model.geometry((90, 120)), quality)
        sums.append(sum(int(np.abs(latent).sum()) for latent in latents))
    assert sums == sorted(sums)
    assert len(set(sums)) == 3


def test_settings(learned_model: Model, detector_model: Model) -> None:
    assert str(open_encoder("learned:quality=3", learned_model).settings) == "learned:quality=3"
    assert (
        str(open_encoder("learned", learned_model).settings) == "learned:quality=3"
    )  # the last where there is no fifth
    assert str(open_encoder("learned", detector_model).settings) == "learned:quality=5"
    with pytest.raises(ConfigurationError, match="codec learned, quality: expected one of 1, 2, 3, found '4'"):
        open_encoder("learned:quality=4", learned_model)
    with pytest.raises(ConfigurationError, match="codec learned, options: expected some of quality, found levels"):
        open_encoder("learned:levels=p3", learned_model)
    sweep = open_codec("learned", learned_model).sweep()
    assert [str(settings) for settings in sweep] == [f"learned:quality={quality}" for quality in (1, 2, 3)]


def test_a_model_without_a_codec_says_so(unfitted_model: Model) -> None:
    assert "learned" not in [codec.name for codec in decodable_codecs(unfitted_model)]
    assert registered_codecs()["learned"] is LearnedCodec
    assert default_codec(unfitted_model) == "interpolate"
    message = (
        r"codec learned: expected a learned codec in the model unfitted, found none\. Train one with keyfpn-train c"
    )
    with pytest.raises(ConfigurationError, match=message):
        open_encoder("learned", unfitted_model)
    with pytest.raises(ModelError, match=r"unfitted: expected a model with learned/codec\.json, found none in its man"):
        open_codec("learned", unfitted_model).decoder()


def test_an_edge_needs_no_synthesis_and_a_server_no_analysis(
    learned_model: Model, features: dict[str, Tensor], tmp_path: Path
) -> None:
    edge = copy_without(learned_model, tmp_path / "edge", "synthesis.safetensors")
    server = copy_without(learned_model, tmp_path / "server", "analysis.safetensors")
    packet = send(QUALITY_2, edge, features, (90, 120))
    assert receive(packet, server)["p2"].shape[1] == 128
    assert "learned" not in [codec.name for codec in decodable_codecs(edge)]
    with pytest.raises(InvalidField, match="one that edge has the files of"):
        receive(packet, edge)
    with pytest.raises(ModelError, match=r"expected a file of the model, found .*\. Copy the whole model here\."):
        send(QUALITY_2, server, features, (90, 120))


def test_without_an_analysis_no_encoder_is_opened(learned_model: Model, tmp_path: Path) -> None:
    model = copy_without(learned_model, tmp_path / "server", "analysis.safetensors")
    assert default_codec(model) == "learned"
    assert open_codec("learned", model).can_decode()
    with pytest.raises(ModelError, match=r"server/learned/analysis\.safetensors: expected a file of the model, found"):
        open_encoder("learned", model)
    with pytest.raises(ConfigurationError):  # what cannot work anywhere is said first
        open_encoder("learned:quality=9", model)


def test_without_a_synthesis_an_edge_encodes_and_no_server_decodes(learned_model: Model, tmp_path: Path) -> None:
    model = copy_without(learned_model, tmp_path / "edge", "synthesis.safetensors")
    assert default_codec(model) == "learned"
    encoder = open_encoder(default_codec(model), model)
    assert len(encoder.encode(random_arrays(encoder, (90, 120), 0))) == 3
    assert encoder.reads == KEY_LEVELS
    assert not encoder.codec.can_decode()
    with pytest.raises(ModelError, match=r"edge/learned/synthesis\.safetensors: expected a file of the model, found"):
        encoder.codec.rebuilder()


def test_without_an_entropy_model_nothing_can_be_done(learned_model: Model, tmp_path: Path) -> None:
    model = copy_without(learned_model, tmp_path / "neither", "entropy.safetensors")
    codec = open_codec("learned", model)
    assert not codec.can_decode()
    for make in (codec.decoder, lambda: open_encoder("learned", model)):
        with pytest.raises(ModelError, match=r"neither/learned/entropy\.safetensors: expected a file of the model"):
            make()


def test_a_packet_of_another_model(detector_model: Model, packet: Packet) -> None:
    with pytest.raises(FingerprintMismatch):
        receive(packet, detector_model)


@pytest.mark.parametrize("quality", [0, 4, 255])
def test_a_quality_that_the_codec_does_not_have(learned_model: Model, packet: Packet, quality: int) -> None:
    with pytest.raises(InvalidField, match=f"quality of the learned codec: expected 1 to 3, found {quality}"):
        receive(replace(packet, quality=quality), learned_model)


@pytest.mark.parametrize("size", [(32, 32), (90, 160), (300, 300)])
def test_a_latent_of_another_picture_size(learned_model: Model, packet: Packet, size: tuple[int, int]) -> None:
    with pytest.raises(CorruptPayload):
        receive(replace(packet, network_size=size), learned_model)


def test_streams_that_end_too_early_or_hold_more(learned_model: Model, packet: Packet) -> None:
    y0, y1, y2 = packet.chunks
    for payload in (b"", y1.payload[:-4], y1.payload[4:], y1.payload + y1.payload, bytes(4) + y1.payload):
        damaged = replace(packet, chunks=(y0, replace(y1, payload=payload), y2))
        with pytest.raises(CorruptPayload):
            receive(Packet.parse(damaged.serialize()), learned_model)


def test_any_bit_of_a_payload_flipped_is_an_error_or_an_answer(learned_model: Model, packet: Packet) -> None:
    y0, y1, y2 = packet.chunks
    random = np.random.default_rng(0)
    rebuilder = codec_of(packet, learned_model).rebuilder()
    refused = 0
    for bit in random.choice(8 * len(y1.payload), 60, replace=False):
        flipped = bytearray(y1.payload)
        flipped[bit // 8] ^= 1 << (bit % 8)
        damaged = replace(packet, chunks=(y0, replace(y1, payload=bytes(flipped)), y2))
        try:
            pyramid = rebuilder.rebuild([unpack(damaged, learned_model)])
        except ProtocolError:
            refused += 1
        else:
            assert pyramid["p2"].isfinite().all()
    assert refused > 50


def test_missing_and_swapped_chunks(learned_model: Model, packet: Packet) -> None:
    y0, y1, y2 = packet.chunks
    for chunks in ((), (y0,), (y0, y1), (y0, y2), (y1, y2), (replace(y0, level="y1", payload=y0.payload), y2)):
        with pytest.raises(InvalidField, match="chunks of the learned codec"):
            receive(replace(packet, chunks=chunks), learned_model)


def test_limits(learned_model: Model, packet: Packet) -> None:
    with pytest.raises(LimitExceeded, match="elements of p2"):
        receive(packet, learned_model, Limits(max_elements=1000))


def test_symbols_beyond_the_tables_are_cut_off(learned_model: Model, features: dict[str, Tensor]) -> None:
    large = {level: 1e4 * feature for level, feature in features.items()}
    packet = send(QUALITY_2, learned_model, large, (90, 120))
    bounds = open_encoder(QUALITY_2, learned_model)._coder.max_symbols
    for array, bound in zip(unpack(packet, learned_model).arrays.values(), bounds, strict=True):
        assert np.abs(array).max() == bound
    assert receive(packet, learned_model)["p2"].isfinite().all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_finite_are_refused(learned_model: Model, value: float) -> None:
    encoder = open_encoder(QUALITY_2, learned_model)
    arrays = random_arrays(encoder, (90, 120), 0)
    arrays["y1"][0, 0, 0] = value
    with pytest.raises(FeatureError, match="latent y1 to send: expected finite values, found some that are not"):
        encoder.encode(arrays)
