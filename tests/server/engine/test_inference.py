"""The networks of the models that are held: rebuilders and heads, from unpacked frames to detections."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.network import build_network
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Packet
from keyfpn.server.engine.inference import Inference
from keyfpn.server.held import HeldModels, Unpacker
from keyfpn.server.pipeline import Server

MakePacket = Callable[..., Packet]


@pytest.fixture(scope="module")
def inference(held: HeldModels) -> Inference:
    return Inference(held)


def assert_same(found: Detections, expected: Detections) -> None:
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.classes, expected.classes)
    assert found.names == expected.names


def test_two_models_side_by_side(
    detector_model: Model, make_packet: MakePacket, crops: list[np.ndarray], tmp_path: Path
) -> None:
    # The same weights as a bare config with weights: another fingerprint, and with no class left to find.
    folder = detector_model.folder
    assert folder is not None
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["MODEL"].setdefault("ROI_HEADS", {})["SCORE_THRESH_TEST"] = 1.1
    (tmp_path / "blind.yaml").write_text(yaml.safe_dump(config))
    blind = open_model(tmp_path / "blind.yaml", folder / "detector.safetensors")
    both = Server([detector_model, blind])

    packet = make_packet(crops[1])
    assert len(both.detect(packet)) > 0
    assert both.held.model_of(packet) is detector_model
    other = replace(packet, fingerprint=blind.fingerprint)
    assert len(both.detect(other)) == 0
    assert both.held.model_of(other) is blind


def test_the_backbone_does_not_stay_in_memory(detector_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def watched(model: Model, device: str = "cpu") -> GeneralizedRCNN:
        network = build_network(model, device)
        built.extend([weakref.ref(network.backbone), weakref.ref(network.roi_heads)])
        return network

    monkeypatch.setattr("keyfpn.server.engine.inference.build_network", watched)
    inference = Inference(HeldModels([detector_model]))
    gc.collect()
    backbone, roi_heads = built
    assert backbone() is None
    assert roi_heads() is not None
    assert inference


@pytest.mark.parametrize("settings", ["interpolate:precision=int8,ranges=picture", "raw:precision=fp32"])
def test_a_batch_gives_what_its_frames_give_alone(
    inference: Inference, held: HeldModels, make_packet: MakePacket, crops: list[np.ndarray], settings: str
) -> None:
    unpacker = Unpacker(held)
    # Of other network sizes with the same padding; and boxes are in pixels of the original picture, each its own.
    pictures = [crops[1], crops[2][:120, :150], crops[3][:100, :140]]
    sizes = [(128, 160), (256, 320), (64, 80)]
    frames = [
        unpacker.unpack(make_packet(picture, settings, image_size=size))
        for picture, size in zip(pictures, sizes, strict=True)
    ]
    assert len({frame.unpacked.batch_key for frame in frames}) == 1
    together = inference.detect(frames)
    for found, frame in zip(together, frames, strict=True):
        (alone,) = inference.detect([frame])
        assert_same(found, alone)
        height, width = frame.image_size
        assert (found.boxes <= np.float32([width, height, width, height])).all()


def test_no_thread_disturbs_another(
    inference: Inference, held: HeldModels, make_packet: MakePacket, crops: list[np.ndarray]
) -> None:
    unpacker = Unpacker(held)
    frames = [unpacker.unpack(make_packet(crop)) for crop in crops[:4]]
    alone = [inference.detect([frame])[0] for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = [found for (found,) in pool.map(lambda frame: inference.detect([frame]), frames * 2)]
    for expected, found in zip(alone * 2, together, strict=True):
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)


def test_a_device_that_is_not_there(held: HeldModels) -> None:
    with pytest.raises(ModelError, match="device 'abacus': expected one that torch can compute on"):
        Inference(held, device="abacus")
