"""Packets taken apart, with their model and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from keyfpn.detector.model import Model
from keyfpn.edge.inspection import inspect_packet
from keyfpn.protocol.errors import CorruptPayload, InvalidField, ProtocolError
from keyfpn.protocol.packet import Extension, Packet
from keyfpn.reconstruct.registry import open_encoder

SIZE = (96, 128)


@pytest.fixture
def packet_of(detector_model: Model) -> Callable[[str], Packet]:
    """A packet of noise, with the key levels of some settings."""

    def make(settings: str) -> Packet:
        encoder, geometry = open_encoder(settings, detector_model), detector_model.geometry(SIZE)
        random = np.random.default_rng(0)
        arrays = {name: random.normal(size=geometry.level_shape(name)).astype(np.float32) for name in encoder.inputs}
        return encoder.packet(arrays, image_size=SIZE, network_size=SIZE)

    return make


def test_every_byte_is_accounted_for(packet_of: Callable[[str], Packet], detector_model: Model) -> None:
    packet = replace(packet_of("interpolate:levels=p3+p5,ranges=picture"), extensions=(Extension(9, b"abc"),))
    size = len(packet.serialize())
    found = inspect_packet(packet, size, detector_model)
    assert found.header_bytes + sum(level.bytes or 0 for level in found.levels) == size
    assert found.header_bytes == 53 + 5  # the extension's type, length and data
    assert found.raw_bytes == detector_model.geometry(SIZE).raw_bytes()
    assert found.compression_ratio == pytest.approx(found.raw_bytes / size)
    assert [level.level for level in found.levels] == ["p2", "p3", "p4", "p5", "p6"]
    p2, p3, p4, p5, p6 = found.levels
    for level, elements in ((p3, 128 * 12 * 16), (p5, 128 * 3 * 4)):
        assert (level.source, level.coder, level.quantization) == ("sent", "ans", "int8, sent ranges")
        assert level.elements == elements
        assert level.bits_per_element == pytest.approx(8 * level.bytes / elements)
        assert level.compression_ratio == pytest.approx(32 / level.bits_per_element)
    for level in (p2, p4, p6):
        assert level.source != "sent"
        assert level.bytes is level.coder is level.bits_per_element is level.compression_ratio is None
    assert p6.source == "exact from p5 (max-pool, kernel 1, stride 2)"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("raw:levels=p5,precision=fp16", "fp16"),
        ("raw:levels=p5,precision=fp32", "fp32"),
        ("interpolate:levels=p5,precision=int4,ranges=picture", "int4, sent ranges"),
        ("interpolate:levels=p5,precision=int8,ranges=model", "int8, model's ranges"),
    ],
)
def test_quantization_in_words(
    packet_of: Callable[[str], Packet], detector_model: Model, settings: str, words: str
) -> None:
    packet = packet_of(settings)
    (sent,) = [level for level in inspect_packet(packet, 1000, detector_model).levels if level.source == "sent"]
    assert sent.quantization == words


def test_without_its_model_only_the_container_is_known(
    packet_of: Callable[[str], Packet], unfitted_model: Model
) -> None:
    packet = packet_of("interpolate:levels=p3+p5,ranges=picture")
    size = len(packet.serialize())
    found = inspect_packet(packet, size, unfitted_model)
    assert found.model is found.raw_bytes is found.compression_ratio is None
    assert [(level.level, level.source, level.elements) for level in found.levels] == [
        ("p3", "sent", None),
        ("p5", "sent", None),
    ]
    assert found.header_bytes == 53
    assert found.as_dict()["levels"][0]["compression_ratio"] is None


def test_a_payload_that_is_not_what_it_says_is_found(
    packet_of: Callable[[str], Packet], detector_model: Model, unfitted_model: Model
) -> None:
    packet = packet_of("raw:levels=p5,precision=fp32")
    (chunk,) = packet.chunks
    cut = replace(packet, chunks=(replace(chunk, payload=chunk.payload[:-4]),))
    with pytest.raises(CorruptPayload):
        inspect_packet(cut, 1, detector_model)
    assert inspect_packet(cut, 1, unfitted_model).model is None  # nobody can tell without the model


def test_a_codec_that_the_model_has_no_files_of(make_packet: Callable[..., Packet], unfitted_model: Model) -> None:
    packet = replace(make_packet(model=unfitted_model), codec="learned")
    with pytest.raises(InvalidField, match=r"codec: expected one that unfitted has the files of \(interpolate, raw\)"):
        inspect_packet(packet, 53, unfitted_model)


def test_a_packet_without_any_level_is_none(make_packet: Callable[..., Packet], detector_model: Model) -> None:
    with pytest.raises(ProtocolError):
        inspect_packet(make_packet(), 53, detector_model)


def test_as_a_record(packet_of: Callable[[str], Packet], detector_model: Model) -> None:
    packet = replace(packet_of("raw:levels=p5"), stream_id=2**64 - 1, frame_id=2**64 - 2, capture_time=2**64 - 3)
    record = inspect_packet(packet, len(packet.serialize()), detector_model).as_dict()
    assert (record["stream_id"], record["frame_id"]) == ("f" * 16, "18446744073709551614")
    assert record["model"] == detector_model.name
    assert record["fingerprint"] == detector_model.fingerprint.hex()
    assert record["network_size"] == list(SIZE)
    assert record["extensions"] == []
