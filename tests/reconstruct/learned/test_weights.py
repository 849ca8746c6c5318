"""A published codec read into a network that is trained on, of the same widths and of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model
from keyfpn.reconstruct.learned.files import ENTROPY_FILE, read_shape
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.shape import KEY_LEVELS
from keyfpn.reconstruct.learned.weights import read_network
from tests.reconstruct.packets import receive, send


def key_levels(model: Model, size: tuple[int, int]) -> dict[str, Tensor]:
    """Random features in place of what the edge's half gives."""
    generator, geometry = torch.Generator().manual_seed(0), model.geometry(size)
    channels = read_shape(model).key_channels
    return {
        level: torch.randn(1, channels[level], *geometry.cells(1 << int(level[-1])), generator=generator)
        for level in KEY_LEVELS
    }


@pytest.mark.parametrize("quality", [1, 3])
def test_edge_and_server_do_what_was_trained(learned_model: Model, quality: int) -> None:
    network = CodecNetwork(read_shape(learned_model)).eval()
    assert read_network(learned_model, network) == []
    features = key_levels(learned_model, (90, 120))
    with torch.no_grad():
        expected = network(features, torch.tensor([quality - 1])).pyramid
    pyramid = receive(send(f"learned:quality={quality}", learned_model, features, (90, 120)), learned_model)
    for level, feature in expected.items():
        # Not the same bits: the edge folds its standardizing into convolutions.
        torch.testing.assert_close(pyramid[level], feature, rtol=1e-3, atol=1e-3)


def test_a_codec_of_another_shape_gives_what_fits(learned_model: Model) -> None:
    published = read_shape(learned_model)
    same, wider = CodecNetwork(published), CodecNetwork(replace(published, synthesis=(8, 8, 8, 12)))
    assert read_network(learned_model, same) == []
    kept = read_network(learned_model, wider)
    assert kept
    assert all(name.startswith("synthesis.top_down.") for name in kept)
    own = wider.state_dict()
    for name, weights in same.state_dict().items():
        assert torch.equal(own[name], weights) == (name not in kept), name


@pytest.mark.parametrize("groups", [((2, 6), (2, 4), (1, 3)), ((2, 2), (2, 3), (1, 2))])
def test_a_codec_of_other_latents_gives_the_first_channels(
    learned_model: Model, groups: tuple[tuple[int, ...], ...]
) -> None:
    published = read_shape(learned_model)
    same, other = CodecNetwork(published), CodecNetwork(replace(published, groups=groups))
    read_network(learned_model, same)
    before = {name: weights.clone() for name, weights in other.state_dict().items()}
    read_network(learned_model, other)
    given = same.state_dict()
    for name, weights in other.state_dict().items():
        common = tuple(slice(min(sides)) for sides in zip(weights.shape, given[name].shape, strict=True))
        assert torch.equal(weights[common], given[name][common]), name
        beyond = torch.ones_like(weights, dtype=torch.bool)
        beyond[common] = False
        assert torch.equal(weights[beyond], before[name][beyond]), name


def test_a_model_without_a_codec_is_refused(unfitted_model: Model, learned_model: Model) -> None:
    with pytest.raises(ModelError, match=r"unfitted: expected a model with learned/codec\.json, found none in its man"):
        read_network(unfitted_model, CodecNetwork(read_shape(learned_model)))


def test_a_codec_without_a_readable_context_model_is_refused(learned_model: Model, tmp_path: Path) -> None:
    assert learned_model.folder is not None
    (tmp_path / "learned").mkdir()
    for path in (learned_model.folder / "learned").iterdir():
        (tmp_path / "learned" / path.name).write_bytes(path.read_bytes())
    (tmp_path / ENTROPY_FILE).write_bytes(b"no such thing")
    model = replace(learned_model, folder=tmp_path, manifest=Manifest.of_folder(tmp_path))
    with pytest.raises(ModelError, match=r"learned/entropy\.safetensors: expected a part of a learned codec, found"):
        read_network(model, CodecNetwork(read_shape(model)))
