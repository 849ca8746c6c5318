from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.reconstruct.codec import LEVELS, build_codec, codec_names, codec_of
from keyfpn.reconstruct.layers import REBUILT
from tests.reconstruct.packets import send

SIZE = (90, 120)


@pytest.fixture(scope="module")
def pyramid(network: GeneralizedRCNN) -> dict[str, Tensor]:
    picture = torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return EdgeHalf(network, LEVELS)(picture)


@pytest.mark.parametrize("keys", [keys for size in (1, 2, 3, 4) for keys in combinations(REBUILT, size)], ids="+".join)
def test_one_network_serves_every_key_set(
    learned_model: Model, pyramid: dict[str, Tensor], keys: tuple[str, ...]
) -> None:
    packet = send(f"network:levels={'+'.join(keys)},precision=fp32", learned_model, pyramid, SIZE)
    codec = codec_of(packet, learned_model)
    rebuilt = codec.decode(packet.chunks, learned_model.geometry(SIZE))
    assert tuple(rebuilt) == LEVELS
    for level, feature in rebuilt.items():
        assert feature.shape == pyramid[level].shape
        assert torch.equal(feature, pyramid[level]) == (level in keys or (level == "p6" and "p5" in keys))
    assert torch.equal(rebuilt["p6"], rebuilt["p5"][:, :, ::2, ::2])
    if "p3" not in keys:
        assert codec.provenance()["p3"] == f"network from {'+'.join(keys)}"


def test_p6_alone_is_refused_on_both_sides(learned_model: Model, pyramid: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigurationError, match="expected a level among p2, p3, p4, p5, found p6 alone"):
        build_codec("network:levels=p6", learned_model)
    packet = send("network:levels=p5+p6,precision=fp32", learned_model, pyramid, SIZE)
    with pytest.raises(InvalidField, match="p6 alone"):
        codec_of(replace(packet, chunks=packet.chunks[1:]), learned_model)


def test_a_model_without_a_network_says_so(
    unfitted_model: Model, learned_model: Model, pyramid: dict[str, Tensor]
) -> None:
    assert "network" not in codec_names(unfitted_model)
    assert "network" in codec_names(learned_model)
    with pytest.raises(ConfigurationError, match="train one with keyfpn-train network"):
        build_codec("network", unfitted_model)
    packet = replace(
        send("network:levels=p3+p5,precision=fp32", learned_model, pyramid, SIZE),
        fingerprint=unfitted_model.fingerprint,
    )
    with pytest.raises(InvalidField, match="one that unfitted has the files of"):
        codec_of(packet, unfitted_model)
