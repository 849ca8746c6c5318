"""A packet's whole way on the server, in one process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.torch.results import to_detections
from keyfpn.protocol.chunk import Float, encode_level
from keyfpn.protocol.errors import FingerprintMismatch, LimitExceeded, ProtocolError
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.learned.files import read_shape
from keyfpn.reconstruct.learned.shape import LATENT_STRIDES, LATENTS
from keyfpn.reconstruct.registry import open_encoder
from keyfpn.server.held import limits_for
from keyfpn.server.pipeline import Server

EXTREMES = np.float32([0, 1, -1, 1e20, -1e20, 3.4e38, -3.4e38])


def test_all_levels_as_float32_give_the_unsplit_detector(
    pipeline: Server,
    detector_model: Model,
    make_packet: Callable[..., Packet],
    network: GeneralizedRCNN,
    crops: list[np.ndarray],
) -> None:
    packet = make_packet(crops[1], "raw:levels=p2+p3+p4+p5,precision=fp32", image_size=(256, 320))
    found = pipeline.detect(packet.serialize())

    picture = torch.from_numpy(crops[1].transpose(2, 0, 1).copy())
    with torch.inference_mode():
        (whole,) = network([{"image": picture, "height": 256, "width": 320}])
    expected = to_detections(whole["instances"], detector_model.labels)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_takes_bytes_and_packets(pipeline: Server, make_packet: Callable[..., Packet], crops: list[np.ndarray]) -> None:
    packet = make_packet(crops[1])
    of_packet, of_bytes = pipeline.detect(packet), pipeline.detect(packet.serialize())
    assert len(of_packet) > 0
    np.testing.assert_array_equal(of_packet.boxes, of_bytes.boxes)
    assert of_packet.names == of_bytes.names


def test_one_model_alone_needs_no_list(pipeline: Server, detector_model: Model) -> None:
    assert list(pipeline.held.models.values()) == [detector_model]


def test_a_packet_of_another_model(pipeline: Server, make_constant: Callable[..., Packet]) -> None:
    with pytest.raises(FingerprintMismatch, match="ab" * 8):
        pipeline.detect(make_constant(fingerprint=b"\xab" * 8))


@pytest.mark.parametrize("data", [b"", b"JUNK" * 30])
def test_bytes_that_are_no_packet(pipeline: Server, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        pipeline.detect(data)


def test_a_device_that_is_not_there(detector_model: Model) -> None:
    with pytest.raises(ModelError, match="device 'abacus'"):
        Server(detector_model, device="abacus")


class TestLimits:
    def test_let_the_largest_packet_through(self, detector_model: Model) -> None:
        # Random bits are the worst that zstd can be given.
        limits = limits_for([detector_model], max_side=96)
        geometry = detector_model.geometry((96, 96))
        random = np.random.default_rng(0)
        levels = ("p2", "p3", "p4", "p5", "p6")
        values = [random.integers(0, 0x7F000000, geometry.level_shape(level), np.uint32) for level in levels]
        chunks = [
            encode_level(level, value.view(np.float32), Float(32), "zstd")
            for level, value in zip(levels, values, strict=True)
        ]
        packet = _packet(detector_model, (96, 96), chunks)
        pipeline = Server(detector_model, limits=limits)
        pipeline.detect(packet.serialize())

    def test_a_small_packet_cannot_ask_for_a_large_pyramid(
        self, pipeline: Server, make_constant: Callable[..., Packet]
    ) -> None:
        packet = make_constant((640, 640))
        data = packet.serialize()
        assert len(data) < 10_000
        with pytest.raises(LimitExceeded, match="640 x 640"):  # the transform gives 384 x 640 at most
            pipeline.detect(data)
        with pytest.raises(LimitExceeded, match="network size"):
            pipeline.held.read(replace(packet, network_size=(8192, 8192)).serialize())

    def test_can_be_raised(self, detector_model: Model, make_constant: Callable[..., Packet]) -> None:
        raised = Server(detector_model, limits=limits_for([detector_model], max_side=672))
        raised.detect(make_constant((672, 672)).serialize())


@given(seed=st.integers(0, 2**32 - 1), image=st.tuples(st.integers(1, 65535), st.integers(1, 65535)), data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_valid_features_give_finite_boxes(
    pipeline: Server,
    detector_model: Model,
    seed: int,
    image: tuple[int, int],
    data: st.DataObject,
) -> None:
    size = data.draw(st.sampled_from([(1, 1), (1, 300), (33, 64)]))
    geometry = detector_model.geometry(size)
    random = np.random.default_rng(seed)
    levels = data.draw(st.sampled_from([("p2",), ("p3", "p5"), ("p6",), ("p2", "p3", "p4", "p5", "p6")]))
    values = {level: random.choice(EXTREMES, geometry.level_shape(level)) for level in levels}
    chunks = [encode_level(level, value, Float(32), "store") for level, value in values.items()]
    packet = _packet(
        detector_model, size, chunks, image_size=image, codec=data.draw(st.sampled_from(["raw", "interpolate"]))
    )

    found = pipeline.detect(packet.serialize())
    assert np.isfinite(found.boxes).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.float32([image[1], image[0], image[1], image[0]])).all()


@pytest.fixture(scope="session")
def learned_packet(detector_model: Model) -> Packet:
    """Latents of 33 x 64 pixels, some of their symbols not 0."""
    encoder = open_encoder("learned:quality=3", detector_model)
    random, shape = np.random.default_rng(0), read_shape(detector_model)
    latents = {
        name: random.normal(size=(channels, 64 // stride, 64 // stride)).astype(np.float32)
        for name, channels, stride in zip(LATENTS, shape.latents, LATENT_STRIDES, strict=True)
    }
    return encoder.packet(latents, image_size=(33, 64), network_size=(33, 64))


@pytest.mark.parametrize("codec", ["interpolate", "learned"])
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_forged_bytes_give_detections_or_a_protocol_error(
    pipeline: Server,
    make_constant: Callable[..., Packet],
    learned_packet: Packet,
    codec: str,
    position: float,
    value: int,
    cut: int,
) -> None:
    # With the right checksum, so that the forgery reaches every parser behind it.
    packet = learned_packet if codec == "learned" else make_constant((33, 64))
    body = bytearray(packet.serialize()[:-4])
    body[int(position * len(body))] = value
    body = body[: len(body) - cut] if cut > 30 else body
    data = bytes(body) + google_crc32c.value(bytes(body)).to_bytes(4, "little")
    with contextlib.suppress(ProtocolError):
        assert np.isfinite(pipeline.detect(data).boxes).all()


def _packet(model: Model, size: tuple[int, int], chunks: list, **fields: object) -> Packet:
    defaults: dict[str, object] = {
        "codec": "interpolate",
        "quality": 0,
        "fingerprint": model.fingerprint,
        "stream_id": 1,
        "frame_id": 1,
        "capture_time": 0,
        "image_size": size,
        "network_size": size,
        "chunks": tuple(chunks),
    }
    return Packet(**{**defaults, **fields})
