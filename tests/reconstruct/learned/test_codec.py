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
    FingerprintMismatch,
    InvalidField,
    LimitExceeded,
    ProtocolError,
)
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import LEVELS, build_codec, codec_names, codec_of
from keyfpn.reconstruct.learned.files import read_coder, read_network, read_shape
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.transforms import KEY_LEVELS
from keyfpn.reconstruct.learned.widths import take_common
from tests.reconstruct.packets import send

QUALITY_2 = "learned:quality=2"


def receive(packet: Packet, model: Model, limits: Limits = DEFAULT_LIMITS) -> dict[str, Tensor]:
    return codec_of(packet, model).decode(packet.chunks, model.geometry(packet.network_size), limits)


def look(network: GeneralizedRCNN, height: int, width: int) -> dict[str, Tensor]:
    picture = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return EdgeHalf(network, KEY_LEVELS)(picture)


@pytest.fixture(scope="module")
def packet(learned_model: Model, network: GeneralizedRCNN) -> Packet:
    return send(QUALITY_2, learned_model, look(network, 90, 120), (90, 120))


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (90, 120), (32, 1000)])
def test_every_size_comes_back_in_the_shapes_of_the_geometry(
    learned_model: Model, network: GeneralizedRCNN, size: tuple[int, int]
) -> None:
    pyramid = receive(send(QUALITY_2, learned_model, look(network, *size), size), learned_model)
    geometry = learned_model.geometry(size)
    assert tuple(sorted(pyramid)) == LEVELS
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
    assert set(codec_of(packet, learned_model).provenance()) == set(LEVELS)


def test_qualities_quantize_more_and_more_finely(learned_model: Model, network: GeneralizedRCNN) -> None:
    assert learned_model.folder is not None
    coder = read_coder(learned_model.folder, read_shape(learned_model.folder))
    features = look(network, 90, 120)
    sums = []
    for quality in (1, 2, 3):
        chunks = send(f"learned:quality={quality}", learned_model, features, (90, 120)).chunks
        latents = coder.decode(chunks, learned_model.geometry((90, 120)), quality)
        sums.append(sum(int(np.abs(latent).sum()) for latent in latents))
    assert sums == sorted(sums)
    assert len(set(sums)) == 3


def test_settings(learned_model: Model) -> None:
    assert str(build_codec("learned:quality=3", learned_model).settings) == "learned:quality=3"
    with pytest.raises(ConfigurationError, match="expected quality to be one of 1, 2, 3, found '4'"):
        build_codec("learned:quality=4", learned_model)
    with pytest.raises(ConfigurationError, match="expected options among quality, found levels"):
        build_codec("learned:levels=p3", learned_model)


def test_a_model_without_a_codec_says_so(unfitted_model: Model) -> None:
    assert "learned" not in codec_names(unfitted_model)
    assert "learned" in codec_names()
    with pytest.raises(ConfigurationError, match="train one with keyfpn-train codec"):
        build_codec("learned", unfitted_model)


def test_an_edge_needs_no_synthesis_and_a_server_no_analysis(
    learned_model: Model, network: GeneralizedRCNN, tmp_path: Path
) -> None:
    assert learned_model.folder is not None
    for name, missing in (("edge", "synthesis"), ("server", "analysis")):
        shutil.copytree(learned_model.folder, tmp_path / name)
        (tmp_path / name / "learned" / f"{missing}.safetensors").unlink()
    edge, server = open_model(str(tmp_path / "edge")), open_model(str(tmp_path / "server"))
    packet = send(QUALITY_2, edge, look(network, 90, 120), (90, 120))
    assert receive(packet, server)["p2"].shape[1] == 128
    assert "learned" not in codec_names(edge)
    with pytest.raises(InvalidField, match="one that edge has the files of"):
        receive(packet, edge)
    with pytest.raises(ModelError, match="no such file; copy the whole model here"):
        send(QUALITY_2, server, look(network, 90, 120), (90, 120))


def test_a_packet_of_another_model(detector_model: Model, packet: Packet) -> None:
    with pytest.raises(FingerprintMismatch):
        receive(packet, detector_model)


@pytest.mark.parametrize("quality", [0, 4, 255])
def test_a_quality_the_codec_has_not(learned_model: Model, packet: Packet, quality: int) -> None:
    with pytest.raises(InvalidField, match="quality of the learned codec"):
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
    refused = 0
    for bit in random.choice(8 * len(y1.payload), 60, replace=False):
        flipped = bytearray(y1.payload)
        flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            pyramid = receive(replace(packet, chunks=(y0, replace(y1, payload=bytes(flipped)), y2)), learned_model)
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


def test_symbols_beyond_the_tables_are_cut_off(learned_model: Model, network: GeneralizedRCNN) -> None:
    features = {level: 1e4 * feature for level, feature in look(network, 90, 120).items()}
    pyramid = receive(send(QUALITY_2, learned_model, features, (90, 120)), learned_model)
    assert pyramid["p2"].isfinite().all()


def test_a_codec_of_another_shape_gives_what_fits(learned_model: Model) -> None:
    assert learned_model.folder is not None
    published = read_shape(learned_model.folder)
    same, wider = CodecNetwork(published), CodecNetwork(replace(published, synthesis=(8, 8, 8, 12)))
    assert read_network(learned_model.folder, same) == []
    kept = read_network(learned_model.folder, wider)
    assert kept
    assert all(name.startswith("synthesis.top_down.") for name in kept)
    own = wider.state_dict()
    for name, weights in same.state_dict().items():
        assert torch.equal(own[name], weights) == (name not in kept), name


@pytest.mark.parametrize("groups", [((2, 6), (2, 4), (1, 3)), ((2, 2), (2, 3), (1, 2))])
def test_a_codec_of_other_latents_gives_the_first_channels(
    learned_model: Model, groups: tuple[tuple[int, ...], ...]
) -> None:
    assert learned_model.folder is not None
    published = read_shape(learned_model.folder)
    same, other = CodecNetwork(published), CodecNetwork(replace(published, groups=groups))
    read_network(learned_model.folder, same)
    before = {name: weights.clone() for name, weights in other.state_dict().items()}
    read_network(learned_model.folder, other)
    given = same.state_dict()
    for name, weights in other.state_dict().items():
        common = tuple(slice(min(sides)) for sides in zip(weights.shape, given[name].shape, strict=True))
        assert torch.equal(weights[common], given[name][common]), name
        beyond = torch.ones_like(weights, dtype=torch.bool)
        beyond[common] = False
        assert torch.equal(weights[beyond], before[name][beyond]), name


def test_kernels_of_another_size_have_nothing_in_common() -> None:
    own = torch.zeros(4, 4, 3, 3)
    assert not take_common(own, torch.ones(4, 4, 1, 1))
    assert not take_common(own, torch.ones(4, 4))
    assert not own.any()
    assert take_common(own, torch.ones(5, 4, 3, 3, dtype=torch.float16))
    assert own.all()
