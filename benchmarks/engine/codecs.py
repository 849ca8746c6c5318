"""The way of split inference: a codec's packet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import LEVELS, build_codec, codec_of, identity
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

    @classmethod
    def of(cls, text: str, model: DetectorModel) -> CodecWay:
        """Read codec settings.

        Raises:
            ConfigurationError: settings that cannot work with this model.
        """
        codec = build_codec(text, model)
        return cls(codec.settings, codec.key_levels, identity(codec, model))

    @property
    def key(self) -> str:
        return f"{self.settings}@{self.identity}"

    @property
    def reads_features(self) -> bool:
        return set(self.key_levels) <= set(LEVELS)

    def send(self, view: View) -> Sent:
        data = self._pack(view)
        return Sent(len(data), _rebuild(data, view.detector.model))

    def _pack(self, view: View) -> bytes:
        """What the edge puts on the wire."""
        codec = view.detector.codec(self.settings)
        packet = Packet(
            codec=codec.name,
            quality=codec.quality,
            fingerprint=view.detector.model.fingerprint,
            stream_id=0,
            frame_id=view.picture.id,
            capture_time=0,
            image_size=view.image_size,
            network_size=view.network_size,
            chunks=codec.encode(view.key_features(self.key_levels)),
        )
        return packet.serialize(_LIMITS)


def _rebuild(data: bytes, model: DetectorModel) -> dict[str, Tensor]:
    """The pyramid that the server makes of it, with nothing else at hand than the model."""
    packet = Packet.parse(data, _LIMITS)
    return codec_of(packet, model).decode(packet.chunks, model.geometry(packet.network_size), _LIMITS)
