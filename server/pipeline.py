"""Packet in, detections out: the whole way of a frame on the server, for gRPC and files alike.

bytes ──► Packet.parse ──► model of its fingerprint ──► codec.decode ──► ServerHalf ──► Detections
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keyfpn.detector.detections import Detections
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.split import Precision, ServerHalf
from keyfpn.protocol.errors import FingerprintMismatch, LimitExceeded
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import codec_of

_FINEST = "p2"  # the largest level, sent or rebuilt


class _Held(NamedTuple):
    model: DetectorModel
    half: ServerHalf


class DetectionPipeline:
    """Holds the server's half of one or more detectors; safe to use from several threads at once.

    Attributes:
        models: fingerprint to model.
        limits: what one packet may take; see :func:`limits_for`.
    """

    def __init__(
        self, models: Sequence[DetectorModel], *, precision: Precision = "fp32", limits: Limits | None = None
    ) -> None:
        """Build the networks. Of each only RPN and ROI heads stay in memory.

        Args:
            models: at least one.
            precision: of convolutions and matrix products.
            limits: :func:`limits_for` the models unless given.

        Raises:
            ModelError: a network cannot be built.
            WeightsError: weights do not fit.
        """
        self.limits = limits or limits_for(models)
        self._held = {
            model.fingerprint: _Held(model, ServerHalf(model.build(), precision=precision)) for model in models
        }
        self.models = {fingerprint: held.model for fingerprint, held in self._held.items()}

    def read(self, data: bytes) -> Packet:
        """Parse a packet.

        Raises:
            ProtocolError: anything but a packet within the limits.
        """
        return Packet.parse(data, self.limits)

    def detect(self, packet: Packet) -> Detections:
        """Find the objects of a frame.

        Raises:
            FingerprintMismatch: the packet was made with a model that is not held.
            LimitExceeded: the frame is larger than the limits allow.
            ProtocolError: the packet's levels cannot be decoded.
        """
        model, half = self._find(packet)
        geometry = model.geometry(packet.network_size)
        self._check_size(geometry)
        features = codec_of(packet, model).decode(packet.chunks, geometry, self.limits)
        return Detections.from_instances(half(features, packet.network_size, packet.image_size))

    def model_of(self, packet: Packet) -> DetectorModel:
        """The model that a packet was made with.

        Raises:
            FingerprintMismatch: it is not held.
        """
        return self._find(packet).model

    def _find(self, packet: Packet) -> _Held:
        held = self._held.get(packet.fingerprint)
        if held is None:
            known = ", ".join(f"{model.fingerprint.hex()} ({model.name})" for model in self.models.values())
            raise FingerprintMismatch(
                "model fingerprint",
                f"one of {known}" if len(self._held) > 1 else known,
                packet.fingerprint.hex(),
                "Edge and server must hold the same model: compare the manifest.json of both.",
            )
        return held

    def _check_size(self, geometry: Geometry) -> None:
        # Levels that are rebuilt cost memory as those that are sent do, and no payload has to pay for them.
        elements = geometry.elements([_FINEST])
        if elements > self.limits.max_elements:
            height, width = geometry.network_size
            raise LimitExceeded(
                f"elements of {_FINEST}",
                f"at most {self.limits.max_elements}",
                f"{elements}, for a network size of {height} x {width}",
                "The receiver's Limits set this bound.",
            )


def limits_for(models: Sequence[DetectorModel], max_side: int | None = None) -> Limits:
    """The limits that let through what the models' own test transforms can give, and nothing larger.

    A compressed level of a constant costs next to no bytes, so the size of a packet says little about the memory that
    it takes: sizes are bounded by what the models are made for instead.

    Args:
        models: at least one; the largest input among them counts.
        max_side: instead of the transforms' sizes, pictures of up to this many pixels on either side.
    """
    pyramids = []
    for model in models:
        transform = model.cfg.INPUT
        largest = (max_side, max_side) if max_side else (transform.MIN_SIZE_TEST, transform.MAX_SIZE_TEST)
        pyramids.append(model.geometry(largest))
    raw_bytes = max(pyramid.raw_bytes() for pyramid in pyramids)
    return Limits(
        max_packet_bytes=raw_bytes + raw_bytes // 256 + _OVERHEAD_BYTES,
        max_side=max(max(pyramid.network_size) for pyramid in pyramids),
        max_elements=max(pyramid.elements([_FINEST]) for pyramid in pyramids),
    )


# Headers, extensions and ranges of a packet. raw / 256 above: by how much zstd can lengthen what it cannot compress
# (ZSTD_compressBound).
_OVERHEAD_BYTES = 256 << 10
