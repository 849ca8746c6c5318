"""The edge's network in torch: the encoder's inputs, and nothing kept that an edge does not need."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import ROIHeads

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.edge.networks.torch import TorchNetwork
from keyfpn.reconstruct.registry import open_encoder


def test_gives_what_the_encoder_codes(detector_model: Model, network: GeneralizedRCNN, noise_input: np.ndarray) -> None:
    encoder = open_encoder("raw:levels=p3+p6,precision=fp32", detector_model)
    arrays = TorchNetwork(detector_model, encoder)(noise_input)
    expected = EdgeHalf(network, ("p3", "p6"))(noise_input)
    assert tuple(arrays) == encoder.inputs == ("p3", "p6")
    for level, array in arrays.items():
        assert (type(array), array.dtype, array.flags.c_contiguous) == (np.ndarray, np.float32, True)
        np.testing.assert_array_equal(array, expected[level][0].numpy())


def test_gives_the_latents_of_a_learned_codec(learned_model: Model, noise_input: np.ndarray) -> None:
    encoder = open_encoder("learned:quality=2", learned_model)
    arrays = TorchNetwork(learned_model, encoder)(noise_input)
    # 90 x 120 is padded to 96 x 128; the latents' strides are 32, 16 and 8.
    assert {name: array.shape for name, array in arrays.items()} == {
        "y0": (5, 3, 4),
        "y1": (6, 6, 8),
        "y2": (3, 12, 16),
    }
    assert [chunk.level for chunk in encoder.encode(arrays)] == ["y0", "y1", "y2"]


def test_keeps_only_the_edges_half(detector_model: Model) -> None:
    def heads() -> int:
        gc.collect()
        return sum(issubclass(type(thing), (RPN, ROIHeads)) for thing in gc.get_objects())

    before = heads()
    network = TorchNetwork(detector_model, open_encoder("raw", detector_model))
    assert heads() == before
    assert network


def test_a_device_that_is_not_there(detector_model: Model) -> None:
    with pytest.raises(ModelError, match="device 'abacus': expected one that torch can compute on"):
        TorchNetwork(detector_model, open_encoder("raw", detector_model), device="abacus")
