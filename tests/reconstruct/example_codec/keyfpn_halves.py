"""The codec `halves`: p3 in half precision; all other levels are scaled from it.

p3 ──► float16 ──► chunk ──► … ──► p3 ──► bilinear ──► p2, p4, p5; p6 by max-pool
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk, Float, decode_level, encode_level
from keyfpn.protocol.errors import InvalidField
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Arrays, Codec, Decoder, EdgeAnalysis, Encoder, Rebuilder, Unpacked
from keyfpn.reconstruct.settings import CodecSettings

if TYPE_CHECKING:
    from torch import Tensor

LEVEL = "p3"


class HalvesEncoder(Encoder):
    """Remembers nothing."""

    inputs = reads = (LEVEL,)

    def __init__(self, codec: Codec) -> None:
        """Take the codec."""
        self.codec, self.settings = codec, CodecSettings(codec.name)

    def encode(self, arrays: Arrays) -> tuple[Chunk, ...]:
        return (encode_level(LEVEL, arrays[LEVEL], Float(16), "zstd"),)


class HalvesDecoder(Decoder):
    """Remembers nothing."""

    def __init__(self, model: Model) -> None:
        """Take the model, which says how large a level is."""
        self._model = model

    def unpack(self, packet: Packet, limits: Limits = DEFAULT_LIMITS) -> Unpacked:
        if packet.key_levels != (LEVEL,):
            raise InvalidField("levels of a halves packet", LEVEL, ", ".join(packet.key_levels) or "none")
        geometry = self._model.geometry(packet.network_size)
        values = decode_level(packet.chunks[0], geometry.level_shape(LEVEL), limits)
        return Unpacked({LEVEL: values}, geometry, packet.quality)


class LevelItself(EdgeAnalysis):
    """What the backbone gives is what the encoder takes."""

    def analyze(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {LEVEL: features[LEVEL]}


class HalvesCodec(Codec):
    """No options, and no files in the model folder."""

    name = "halves"
    wire_id = 200

    def can_decode(self) -> bool:
        return True

    def encoder(self, settings: CodecSettings) -> HalvesEncoder:
        settings.require_known(())
        return HalvesEncoder(self)

    def analysis(self, encoder: Encoder, device: str = "cpu") -> LevelItself:
        return LevelItself()

    def decoder(self) -> HalvesDecoder:
        return HalvesDecoder(self.model)

    def rebuilder(self, device: str = "cpu") -> Rebuilder:
        from keyfpn.reconstruct.interpolate.rebuilder import Interpolator  # torch: servers alone have it

        return Interpolator(self.model.pyramid, {}, device)

    def provenance(self, sent: Sequence[str]) -> dict[str, str]:
        words = {level: f"bilinear from {LEVEL}" for level in self.model.pyramid.independent if level != LEVEL}
        derived = {level: f"max-pool of the rebuilt {source}" for level, source in self.model.pyramid.derived.items()}
        return {LEVEL: "sent"} | words | derived

    def sweep(self) -> list[CodecSettings]:
        return [CodecSettings(self.name)]
