"""What a server holds: models, the codecs of each, and how much one packet may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyfpn.detector.model import Model
from keyfpn.protocol.errors import FingerprintMismatch, LimitExceeded
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Codec, Decoder, Unpacked
from keyfpn.reconstruct.registry import choose_codec, decodable_codecs

# Headers, extensions and ranges of a packet.
_OVERHEAD_BYTES = 256 << 10


@dataclass(frozen=True, eq=False)
class UnpackedFrame:
    """A frame that is ready for the device.

    Attributes:
        codec: of its packet, and so the model.
        unpacked: what its symbols say.
        image_size: (height, width) of the original picture, in pixels.
    """

    codec: Codec
    unpacked: Unpacked
    image_size: tuple[int, int]


class HeldModels:
    """Models, and the codecs of each that can be decoded; never changes, so that all streams share it.

    Attributes:
        models: fingerprint to model.
        limits: what one packet may take.
    """

    def __init__(self, models: Sequence[Model], limits: Limits | None = None) -> None:
        """Find the codecs.

        Args:
            models: at least one.
            limits: :func:`limits_for` the models unless given.
        """
        self.limits = limits or limits_for(models)
        self.models = {model.fingerprint: model for model in models}
        self._codecs = {model.fingerprint: decodable_codecs(model) for model in models}

    def codecs(self, model: Model) -> list[Codec]:
        """The codecs of a model."""
        return self._codecs[model.fingerprint]

    def model_of(self, packet: Packet) -> Model:
        """The model that a packet was made with.

        Raises:
            FingerprintMismatch: it is not held.
        """
        model = self.models.get(packet.fingerprint)
        if model is None:
            known = ", ".join(f"{model.fingerprint.hex()} ({model.name})" for model in self.models.values())
            raise FingerprintMismatch(
                "model fingerprint",
                f"one of {known}" if len(self.models) > 1 else known,
                packet.fingerprint.hex(),
                "Edge and server must hold the same model: compare the manifest.json of both.",
            )
        return model

    def codec_of(self, packet: Packet) -> Codec:
        """The codec that a packet was made with.

        Raises:
            FingerprintMismatch: its model is not held.
            InvalidField: the model does not have the codec.
        """
        model = self.model_of(packet)
        return choose_codec(packet, model, self.codecs(model))

    def read(self, data: bytes) -> Packet:
        """Parse a packet.

        Raises:
            ProtocolError: anything but a packet within the limits.
        """
        return Packet.parse(data, self.limits)


class Unpacker:
    """Unpacks the packets of one stream, in order: it has the stream's decoders."""

    def __init__(self, held: HeldModels) -> None:
        """Start a stream; a decoder is made with the first packet that needs it."""
        self._held = held
        self._decoders: dict[tuple[bytes, str], Decoder] = {}

    def unpack(self, packet: Packet) -> UnpackedFrame:
        """Decode a packet's chunks.

        Raises:
            FingerprintMismatch: the packet was made with a model that is not held.
            LimitExceeded: the frame is larger than the limits allow.
            ProtocolError: the packet's chunks cannot be decoded.
        """
        codec = self._held.codec_of(packet)
        self._check_size(codec.model.geometry(packet.network_size))
        key = packet.fingerprint, packet.codec
        if key not in self._decoders:
            self._decoders[key] = codec.decoder()
        return UnpackedFrame(codec, self._decoders[key].unpack(packet, self._held.limits), packet.image_size)

    def _check_size(self, geometry: Geometry) -> None:
        # Levels that are rebuilt cost memory as those that are sent do, and no payload has to pay for them.
        finest, limits = geometry.levels[0], self._held.limits
        elements = geometry.elements([finest])
        if elements > limits.max_elements:
            height, width = geometry.network_size
            found = f"{elements}, for a network size of {height} x {width}"
            hint = "The receiver's Limits set this bound."
            raise LimitExceeded(f"elements of {finest}", f"at most {limits.max_elements}", found, hint)


def limits_for(models: Sequence[Model], max_side: int | None = None) -> Limits:
    """The limits that let through what the models' own test transforms can give, and nothing larger.

    A compressed level of a constant costs next to no bytes, so the size of a packet says little about the memory that
    it takes: sizes are bounded by what the models are made for instead.

    Args:
        models: at least one; the largest input among them counts.
        max_side: instead of the transforms' sizes, pictures of up to this many pixels on either side.
    """
    geometries = []
    for model in models:
        transform = model.preprocessor
        # A short side of 0 is detectron2's word for a detector that resizes nothing: any picture within the long side.
        short_side = transform.short_side or transform.long_side_max
        largest = (max_side, max_side) if max_side else (short_side, transform.long_side_max)
        geometries.append(model.geometry(largest))
    raw_bytes = max(geometry.raw_bytes() for geometry in geometries)
    return Limits(
        # raw / 256: by how much zstd can lengthen what it cannot compress (ZSTD_compressBound).
        max_packet_bytes=raw_bytes + raw_bytes // 256 + _OVERHEAD_BYTES,
        max_side=max(max(geometry.network_size) for geometry in geometries),
        max_elements=max(geometry.elements(geometry.levels[:1]) for geometry in geometries),
    )
