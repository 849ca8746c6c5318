"""What every codec promises: batches, bounds, and who needs what."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from keyfpn.detector.model import Model
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import open_codec, open_encoder, registered_codecs
from tests.reconstruct.packets import packet_of, random_arrays, unpack

SIZES = ((90, 120), (70, 110), (96, 128))
"""Network sizes that are all padded to 96 x 128."""
BATCHES = {
    "raw": ("raw:levels=p3+p6,precision=fp32", "raw:levels=p3+p6,precision=int4,ranges=picture"),
    "interpolate between two": ("interpolate", "interpolate:precision=fp16"),
    "interpolate from one": ("interpolate:levels=p4", "interpolate:levels=p4,precision=fp32"),
    "network": ("network", "network:precision=int2"),
    "network from p4": ("network:levels=p4,precision=fp32", "network:levels=p4"),
    "learned": ("learned:quality=1", "learned:quality=3"),
}
"""Name to the settings of frames that can be rebuilt together."""


@pytest.mark.parametrize("texts", BATCHES.values(), ids=BATCHES)
def test_a_batch_gives_what_its_frames_give_alone(learned_model: Model, texts: tuple[str, str]) -> None:
    encoders = [open_encoder(text, learned_model) for text in texts]
    frames = [
        unpack(packet_of(encoder, random_arrays(encoder, size, seed), size), learned_model)
        for seed, (encoder, size) in enumerate(zip([*encoders, encoders[0]], SIZES, strict=True))
    ]
    assert len({frame.batch_key for frame in frames}) == 1
    rebuilder = encoders[0].codec.rebuilder()
    together = rebuilder.rebuild(frames)
    assert tuple(together) == learned_model.pyramid.levels
    for place, frame in enumerate(frames):
        alone = rebuilder.rebuild([frame])
        for level, feature in alone.items():
            assert feature.dtype == torch.float32
            assert feature.shape == (1, *frame.geometry.level_shape(level))
            torch.testing.assert_close(together[level][place : place + 1], feature, rtol=1e-4, atol=1e-4)
    assert not torch.equal(together["p3"][0], together["p3"][2])


@pytest.mark.parametrize("name", registered_codecs())
def test_a_batch_of_other_keys_is_refused(learned_model: Model, name: str) -> None:
    encoder = open_encoder(name, learned_model)
    frames = [
        unpack(packet_of(encoder, random_arrays(encoder, size, 0), size), learned_model)
        for size in ((90, 120), (120, 90))
    ]
    rebuilder = encoder.codec.rebuilder()
    for batch in (frames, []):
        with pytest.raises(ValueError, match="expected frames of one padded size with the same arrays in a batch"):
            rebuilder.rebuild(batch)


@pytest.mark.parametrize("name", ["raw", "interpolate", "network"])
def test_a_batch_of_other_key_levels_is_refused(learned_model: Model, name: str) -> None:
    encoders = [open_encoder(f"{name}:levels={levels}", learned_model) for levels in ("p3+p5", "p3")]
    size = (90, 120)
    frames = [unpack(packet_of(encoder, random_arrays(encoder, size, 0), size), learned_model) for encoder in encoders]
    with pytest.raises(ValueError, match=r"found \[.*'p3'\).*'p3', 'p5'\)"):
        encoders[0].codec.rebuilder().rebuild(frames)


@pytest.mark.parametrize("name", registered_codecs())
def test_encoders_and_decoders_of_a_model_do_not_share_what_a_stream_remembers(learned_model: Model, name: str) -> None:
    codec = open_codec(name, learned_model)
    settings = codec.sweep()[0]
    first, second = codec.encoder(settings), codec.encoder(settings)
    assert first is not second
    assert codec.decoder() is not codec.decoder()
    arrays = random_arrays(first, (90, 120), 0)
    assert first.encode(arrays) == first.encode(arrays) == second.encode(arrays)


@pytest.mark.parametrize("name", registered_codecs())
def test_a_packet_says_whose_it_is(learned_model: Model, name: str) -> None:
    encoder = open_encoder(name, learned_model)
    assert encoder.codec.wire_name == name
    packet = packet_of(encoder, random_arrays(encoder, (90, 120), 0), (90, 120))
    assert set(encoder.codec.provenance(packet.key_levels)) == set(learned_model.pyramid.levels)
    unpacked = unpack(packet, learned_model)
    assert tuple(unpacked.arrays) == packet.key_levels == encoder.inputs
    assert unpacked.geometry == learned_model.geometry((90, 120))
    assert unpacked.quality == packet.quality == encoder.quality


@pytest.mark.parametrize("name", registered_codecs())
def test_a_packet_has_what_its_edge_knows(learned_model: Model, name: str) -> None:
    encoder = open_encoder(name, learned_model)
    arrays = random_arrays(encoder, (90, 120), 0)
    sizes = {"image_size": (450, 600), "network_size": (90, 120)}
    packet = encoder.packet(arrays, **sizes, stream_id=7, frame_id=8, capture_time=9)
    assert packet == Packet(
        codec=name,
        quality=encoder.quality,
        fingerprint=learned_model.fingerprint,
        stream_id=7,
        frame_id=8,
        capture_time=9,
        chunks=encoder.encode(arrays),
        **sizes,
    )
    unknown = encoder.packet(arrays, **sizes)
    assert (unknown.stream_id, unknown.frame_id, unknown.capture_time) == (0, 0, 0)


@pytest.mark.parametrize("name", registered_codecs())
def test_an_analysis_makes_what_the_encoder_takes(learned_model: Model, name: str) -> None:
    encoder, geometry = open_encoder(name, learned_model), learned_model.geometry((90, 120))
    channels = {level: 24 if level == "res2" else geometry.channels for level in encoder.reads}
    features = {level: torch.randn(2, channels[level], *geometry.cells(1 << int(level[-1]))) for level in encoder.reads}
    analysis = encoder.codec.analysis(encoder)
    computed = analysis.analyze(features)
    first = analysis.arrays({level: feature[:1] for level, feature in features.items()})
    shapes = {place: array.shape for place, array in random_arrays(encoder, (90, 120), 0).items()}
    assert tuple(computed) == tuple(first) == encoder.inputs
    for place, shape in shapes.items():
        assert computed[place].shape == (2, *shape)
        assert first[place].dtype == np.float32
        np.testing.assert_allclose(first[place], computed[place][0].numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", registered_codecs())
def test_a_packet_without_chunks_is_refused(learned_model: Model, name: str) -> None:
    encoder = open_encoder(name, learned_model)
    packet = packet_of(encoder, random_arrays(encoder, (90, 120), 0), (90, 120))
    with pytest.raises(ProtocolError):
        unpack(replace(packet, chunks=()), learned_model)


_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import keyfpn
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import decodable_codecs
model = keyfpn.open_model(sys.argv[1])
size, geometry = (90, 120), model.geometry((90, 120))
codecs = decodable_codecs(model)
assert len(codecs) == 4
for codec in codecs:
    encoder = codec.encoder(codec.sweep()[0])
    arrays = {}
    for place, name in enumerate(encoder.inputs):
        learned = name.startswith("y")
        shape = (codec.shape.latents[place], *geometry.cells(32 >> place)) if learned else geometry.level_shape(name)
        arrays[name] = np.ones(shape, np.float32)
    packet = encoder.packet(arrays, image_size=size, network_size=size)
    unpacked = codec.decoder().unpack(Packet.parse(packet.serialize()))
    assert tuple(unpacked.arrays) == encoder.inputs
"""


def test_encoding_and_unpacking_do_without_torch(learned_model: Model) -> None:
    program = [sys.executable, "-c", _WITHOUT_TORCH, str(learned_model.folder)]
    run = subprocess.run(program, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
