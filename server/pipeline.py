"""Packet in, detections out, in this process: the whole way of a frame on the server.

bytes ──► Packet.parse ──► Unpacker ──► Inference ──► Detections
"""

from __future__ import annotations

from collections.abc import Sequence

from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packages import packages_of_extras
from keyfpn.protocol.packet import Packet

from .held import HeldModels, Unpacker


class Server:
    """Answers packets of one stream, one after the other, without a network.

    >>> import numpy as np, keyfpn
    >>> model = keyfpn.open_model()
    >>> packet = keyfpn.Edge(model).encode(np.zeros((384, 512, 3), np.uint8))
    >>> len(keyfpn.Server(model).detect(packet).above(0.5))
    0

    Attributes:
        held: models, codecs and limits.
    """

    def __init__(
        self,
        models: Model | Sequence[Model],
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        limits: Limits | None = None,
    ) -> None:
        """Build the networks.

        Args:
            models: one or several; packets of any of them are answered.
            precision: of convolutions and matrix products.
            device: where to compute, as torch names devices.
            limits: what one packet may take; what the models' own resizing can give unless given.

        Raises:
            ModelError: there is no such device, or a network cannot be built.
            MissingPackageError: torch or detectron2 is not installed.
        """
        with packages_of_extras():
            from .engine.inference import Inference
        self.held = HeldModels([models] if isinstance(models, Model) else models, limits)
        self._inference = Inference(self.held, precision=precision, device=device)
        self._unpacker = Unpacker(self.held)

    def detect(self, packet: Packet | bytes) -> Detections:
        """Find the objects of a frame.

        Raises:
            ProtocolError: bytes that are no packet within the limits, a packet of a model that is not held, or one
                whose chunks cannot be decoded.
        """
        parsed = self.held.read(packet) if isinstance(packet, bytes) else packet
        (found,) = self._inference.detect([self._unpacker.unpack(parsed)])
        return found
