"""The way of split inference: a codec's packet."""

from __future__ import annotations

from dataclasses import dataclass

from keyfpn.detector.model import Model
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import identity, open_encoder
from keyfpn.reconstruct.settings import CodecSettings

from .view import View
from .way import Sent

# These packets are our own, and of any detector's size: float32 pyramids of large pictures among them.
_LIMITS = Limits(max_packet_bytes=1 << 30)


@dataclass(frozen=True)
class CodecWay:
    """Split inference with one setting of a codec: packet, bytes, and the pyramid that is rebuilt from these alone."""

    settings: CodecSettings
    """With every option, so that one setting is always the same text."""
    key_levels: tuple[str, ...]
    """What is sent of the pyramid, or of what lies below it."""
    identity: str
    """Of the files that the results depend on: training one codec does not measure the others again."""
    reads_features: bool
    """Whether levels of the pyramid are what is sent."""

    @classmethod
    def of(cls, text: str, model: Model) -> CodecWay:
        """Read codec settings.

        Raises:
            ConfigurationError: settings that cannot work with this model.
        """
        encoder = open_encoder(text, model)
        return cls(encoder.settings, encoder.reads, identity(encoder.codec), encoder.reads == encoder.inputs)

    @property
    def key(self) -> str:
        return f"{self.settings}@{self.identity}"

    def send(self, view: View) -> Sent:
        data = self._pack(view)
        return Sent(len(data), view.detector.rebuild(Packet.parse(data, _LIMITS), _LIMITS))

    def _pack(self, view: View) -> bytes:
        """What the edge puts on the wire."""
        encoder, analysis = view.detector.encoder(self.settings)
        arrays = analysis.arrays(view.key_features(encoder.reads))
        packet = encoder.packet(
            arrays, image_size=view.image_size, network_size=view.network_size, frame_id=view.picture.id
        )
        return packet.serialize(_LIMITS)
