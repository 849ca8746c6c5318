"""The edge's network in torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.reconstruct.codec import Arrays, Encoder


class TorchNetwork:
    """Backbone, the FPN layers of the key levels and the codec's analysis; the rest of the detector is dropped."""

    def __init__(self, model: Model, encoder: Encoder, *, precision: Precision = "fp32", device: str = "cpu") -> None:
        """Build the network.

        Args:
            model: the detector.
            encoder: whose inputs to compute.
            precision: of the backbone's and FPN's convolutions.
            device: as torch names devices.

        Raises:
            ModelError: there is no such device, the detector cannot be built or does not have what the codec reads, or
                a file of the codec is missing.
        """
        detector = build_network(model, device)  # first: it finds out whether there is such a device
        self._analysis = encoder.codec.analysis(encoder, device)
        self._half = EdgeHalf(detector, encoder.reads, precision=precision)

    def __call__(self, picture: NDArray[np.uint8]) -> Arrays:
        """The encoder's inputs.

        Args:
            picture: (3, H, W) uint8, network size, in the detector's channel order.

        Returns:
            (C, h, w) float32 arrays.
        """
        return self._analysis.arrays(self._half(picture))
