from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.reconstruct.key_levels.parameters import MIXES_FILE, RANGES_FILE
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.reconstruct.network.files import SHAPE_FILE, WEIGHTS_FILE
from keyfpn.reconstruct.network.network import NetworkShape, ReconstructionNetwork
from keyfpn.reconstruct.network.rebuilder import NetworkRebuilder, read_network, write_network
from keyfpn.reconstruct.registry import codec_of, decodable_codecs, open_encoder
from tests.reconstruct.packets import receive, send, unpack

SIZE = (90, 120)


@pytest.fixture(scope="module")
def seen(detector_model: Model, network: GeneralizedRCNN) -> dict[str, Tensor]:
    """The detector's own pyramid of a picture."""
    picture = np.random.default_rng(0).integers(0, 256, (3, *SIZE), dtype=np.uint8)
    return EdgeHalf(network, detector_model.pyramid.levels)(picture)


@pytest.mark.parametrize("keys", [keys for size in (1, 2, 3, 4) for keys in combinations(REBUILT, size)], ids="+".join)
def test_one_network_serves_every_key_set(learned_model: Model, seen: dict[str, Tensor], keys: tuple[str, ...]) -> None:
    packet = send(f"network:levels={'+'.join(keys)},precision=fp32", learned_model, seen, SIZE)
    rebuilt = receive(packet, learned_model)
    assert tuple(rebuilt) == learned_model.pyramid.levels
    for level, feature in rebuilt.items():
        assert feature.shape == seen[level].shape
        assert torch.equal(feature, seen[level]) == (level in keys or (level == "p6" and "p5" in keys))
    assert torch.equal(rebuilt["p6"], rebuilt["p5"][:, :, ::2, ::2])
    if "p3" not in keys:
        words = codec_of(packet, learned_model).provenance(packet.key_levels)
        assert words["p3"] == f"network from {'+'.join(keys)}"


def test_p6_alone_is_refused_on_both_sides(learned_model: Model, seen: dict[str, Tensor]) -> None:
    message = "codec network, levels: expected one of p2, p3, p4, p5 at least, found p6"
    with pytest.raises(ConfigurationError, match=message):
        open_encoder("network:levels=p6", learned_model)
    packet = send("network:levels=p5+p6,precision=fp32", learned_model, seen, SIZE)
    message = "levels of a network packet: expected some of .*, with one of p2, p3, p4, p5, found p6"
    with pytest.raises(InvalidField, match=message):
        unpack(replace(packet, chunks=packet.chunks[1:]), learned_model)


def test_a_model_without_a_network_says_so(
    unfitted_model: Model, learned_model: Model, seen: dict[str, Tensor]
) -> None:
    assert "network" not in [codec.name for codec in decodable_codecs(unfitted_model)]
    assert "network" in [codec.name for codec in decodable_codecs(learned_model)]
    message = (
        r"codec network: expected a reconstruction network in unfitted, found none\. Train one with keyfpn-train n"
    )
    with pytest.raises(ConfigurationError, match=message):
        open_encoder("network", unfitted_model)
    packet = replace(
        send("network:levels=p3+p5,precision=fp32", learned_model, seen, SIZE),
        fingerprint=unfitted_model.fingerprint,
    )
    with pytest.raises(InvalidField, match="one that unfitted has the files of"):
        codec_of(packet, unfitted_model)


def test_an_edge_does_not_need_the_networks_files(learned_model: Model, tmp_path: Path) -> None:
    for name in (RANGES_FILE, MIXES_FILE):
        (tmp_path / name).write_bytes(learned_model.read(name))
    elsewhere = replace(learned_model, folder=tmp_path)
    assert elsewhere.published_with(SHAPE_FILE, WEIGHTS_FILE)
    encoder = open_encoder("network:precision=fp32", elsewhere)
    assert encoder.inputs == ("p3", "p5")
    assert not encoder.codec.can_decode()
    with pytest.raises(ModelError, match=r"network/network\.json: expected a file of the model, found No such file"):
        encoder.codec.rebuilder()


def test_a_network_survives_its_files_in_half_precision(learned_model: Model, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ReconstructionNetwork(NetworkShape(8, hidden=(4, 4, 4, 4)))
    write_network(tmp_path, network)
    read = read_network(replace(learned_model, folder=tmp_path, manifest=Manifest.of_folder(tmp_path)))
    assert read.shape == network.shape
    for name, value in network.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    NetworkRebuilder(learned_model.pyramid, read)
    assert not read.training
    assert not any(parameter.requires_grad for parameter in read.parameters())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (SHAPE_FILE, b""),
        (SHAPE_FILE, b"[]"),
        (SHAPE_FILE, b'{"pyramid_channels": 8}'),
        (SHAPE_FILE, b'{"pyramid_channels": 16, "hidden": [4, 4, 4, 4]}'),
        (SHAPE_FILE, b'{"pyramid_channels": 8, "hidden": [4, 4]}'),
        (WEIGHTS_FILE, b"no such thing"),
    ],
)
def test_malformed_files_are_refused(learned_model: Model, tmp_path: Path, name: str, data: bytes) -> None:
    write_network(tmp_path, ReconstructionNetwork(NetworkShape(8, hidden=(4, 4, 4, 4))))
    (tmp_path / name).write_bytes(data)
    model = replace(learned_model, folder=tmp_path, manifest=Manifest.of_folder(tmp_path))
    with pytest.raises(
        ModelError, match=r"small_codec, network/network\.json: expected a reconstruction network, found"
    ):
        read_network(model)
