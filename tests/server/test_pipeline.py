"""A packet's whole way on the server, in one process."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import google_crc32c
import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfpn.detector.model import Model, open_model
from keyfpn.protocol.chunk import Float, Uniform, encode_level
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.errors import FingerprintMismatch, LimitExceeded, ProtocolError
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import Ranges
from keyfpn.server.pipeline import DetectionPipeline, limits_for

EXTREMES = np.float32([0, 1, -1, 1e20, -1e20, 3.4e38, -3.4e38])


def test_all_levels_as_float32_give_the_unsplit_detector(
    pipeline: DetectionPipeline, make_packet: Callable[..., Packet], network: GeneralizedRCNN, crops: list[np.ndarray]
) -> None:
    packet = make_packet(crops[1], "raw:levels=p2+p3+p4+p5,precision=fp32", image_size=(256, 320))
    found = pipeline.detect(pipeline.read(packet.serialize()))

    picture = torch.from_numpy(crops[1].transpose(2, 0, 1).copy())
    with torch.inference_mode():
        (whole,) = network([{"image": picture, "height": 256, "width": 320}])
    expected = Detections.from_instances(whole["instances"])
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_two_models_side_by_side(
    detector_model: Model, make_packet: Callable[..., Packet], crops: list[np.ndarray]
) -> None:
    # The same weights as a bare config with weights: another fingerprint, and with no class left to find.
    folder = detector_model.folder
    blind = open_model(str(folder / "config.yaml"), folder / "detector.safetensors")
    blind.cfg.defrost()
    blind.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 1.1
    both = DetectionPipeline([detector_model, blind])

    packet = make_packet(crops[1])
    assert len(both.detect(packet)) > 0
    assert both.model_of(packet) is detector_model
    other = replace(packet, fingerprint=blind.fingerprint)
    assert len(both.detect(other)) == 0
    assert both.model_of(other) is blind


def test_unknown_fingerprint_names_what_is_held_and_what_came(
    pipeline: DetectionPipeline,
    detector_model: Model,
    make_packet: Callable[..., Packet],
    crops: list[np.ndarray],
) -> None:
    with pytest.raises(FingerprintMismatch) as caught:
        pipeline.detect(make_packet(crops[0], fingerprint=b"\xab" * 8))
    message = str(caught.value)
    assert detector_model.fingerprint.hex() in message
    assert detector_model.name in message
    assert "ab" * 8 in message


def test_the_backbone_does_not_stay_in_memory(detector_model: Model) -> None:
    built = []

    class Watched(Model):
        def build(self) -> GeneralizedRCNN:
            network = super().build()
            built.extend([weakref.ref(network.backbone), weakref.ref(network.roi_heads)])
            return network

    watched = Watched(**{field.name: getattr(detector_model, field.name) for field in fields(Model)})
    pipeline = DetectionPipeline([watched])
    gc.collect()
    backbone, roi_heads = built
    assert backbone() is None
    assert roi_heads() is not None
    assert pipeline.models


class TestLimits:
    def test_follow_from_the_test_transform(self, detector_model: Model) -> None:
        limits = limits_for([detector_model])
        largest = detector_model.geometry((384, 640))
        assert limits.max_side == 640
        assert limits.max_elements == largest.elements(["p2"])

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
        pipeline = DetectionPipeline([detector_model], limits=limits)
        pipeline.detect(pipeline.read(packet.serialize()))

    def test_a_small_packet_cannot_ask_for_a_large_pyramid(
        self, pipeline: DetectionPipeline, detector_model: Model
    ) -> None:
        chunks = _constant_chunks(detector_model, (640, 640))
        packet = _packet(detector_model, (640, 640), chunks)
        data = packet.serialize()
        assert len(data) < 10_000
        with pytest.raises(LimitExceeded, match="640 x 640"):  # the transform gives 384 x 640 at most
            pipeline.detect(pipeline.read(data))
        with pytest.raises(LimitExceeded, match="network size"):
            pipeline.read(replace(packet, network_size=(8192, 8192)).serialize())

    def test_can_be_raised(self, detector_model: Model) -> None:
        raised = DetectionPipeline([detector_model], limits=limits_for([detector_model], max_side=672))
        packet = _packet(detector_model, (672, 672), _constant_chunks(detector_model, (672, 672)))
        raised.detect(raised.read(packet.serialize()))


@given(seed=st.integers(0, 2**32 - 1), image=st.tuples(st.integers(1, 65535), st.integers(1, 65535)), data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_valid_features_give_finite_boxes(
    pipeline: DetectionPipeline,
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

    found = pipeline.detect(pipeline.read(packet.serialize()))
    assert np.isfinite(found.boxes).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.float32([image[1], image[0], image[1], image[0]])).all()


@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.integers(0, 40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_forged_bytes_give_detections_or_a_protocol_error(
    pipeline: DetectionPipeline,
    detector_model: Model,
    position: float,
    value: int,
    cut: int,
) -> None:
    # With the right checksum, so that the forgery reaches every parser behind it.
    body = bytearray(_packet(detector_model, (33, 64), _constant_chunks(detector_model, (33, 64))).serialize()[:-4])
    body[int(position * len(body))] = value
    body = body[: len(body) - cut] if cut > 30 else body
    data = bytes(body) + google_crc32c.value(bytes(body)).to_bytes(4, "little")
    with contextlib.suppress(ProtocolError):
        assert np.isfinite(pipeline.detect(pipeline.read(data)).boxes).all()


def test_no_thread_disturbs_another(
    pipeline: DetectionPipeline, make_packet: Callable[..., Packet], crops: list[np.ndarray]
) -> None:
    packets = [make_packet(crop) for crop in crops[:4]]
    alone = [pipeline.detect(packet) for packet in packets]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(pipeline.detect, packets * 2))
    for expected, found in zip(alone * 2, together, strict=True):
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)


def _constant_chunks(model: Model, size: tuple[int, int]) -> list:
    geometry = model.geometry(size)
    channels = geometry.channels
    ranges = Ranges(np.zeros(channels, np.float32), np.full(channels, 0.01, np.float32), 2)
    return [
        encode_level(level, np.zeros(geometry.level_shape(level), np.float32), Uniform(2, ranges), "ans")
        for level in ("p3", "p5")
    ]


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
