"""What is in a packet, level by level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keyfpn.console.records import packet_record
from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk, Float, Quantization, Uniform
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import codec_of


@dataclass(frozen=True)
class LevelInspection:
    """One level, or one latent of a learned codec.

    Attributes:
        level: its name.
        source: sent, exact from another level, or how it is rebuilt.
        coder: of its payload; None where it is not sent, as for all that follows.
        quantization: in words.
        header_bytes: before the payload, sent ranges included.
        payload_bytes: of the coded values.
        elements: values in the level; None where no model at hand tells its shape.
    """

    level: str
    source: str
    coder: str | None = None
    quantization: str | None = None
    header_bytes: int | None = None
    payload_bytes: int | None = None
    elements: int | None = None

    @property
    def bytes(self) -> int | None:
        """Header and payload."""
        return (
            None if self.header_bytes is None or self.payload_bytes is None else self.header_bytes + self.payload_bytes
        )

    @property
    def bits_per_element(self) -> float | None:
        """Of header and payload."""
        return 8 * self.bytes / self.elements if self.bytes and self.elements else None

    @property
    def compression_ratio(self) -> float | None:
        """How many times smaller than float32."""
        return 4 * self.elements / self.bytes if self.bytes and self.elements else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"bits_per_element": self.bits_per_element, "compression_ratio": self.compression_ratio}


@dataclass(frozen=True)
class Inspection:
    """A packet taken apart.

    Attributes:
        packet: its fields.
        size: its bytes.
        model: the name of the packet's model; None where the model at hand is another.
        raw_bytes: of the whole pyramid as float32; None without the model.
        levels: those sent; with the model, those rebuilt too.
    """

    packet: Packet
    size: int
    model: str | None
    raw_bytes: int | None
    levels: tuple[LevelInspection, ...]

    @property
    def header_bytes(self) -> int:
        """What is not of any level, checksum included."""
        return self.size - sum(level.bytes or 0 for level in self.levels)

    @property
    def compression_ratio(self) -> float | None:
        """How many times smaller than the whole pyramid as float32."""
        return self.raw_bytes / self.size if self.raw_bytes else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        packet = self.packet
        return packet_record(packet, self.size) | {
            "header_bytes": self.header_bytes,
            "fingerprint": packet.fingerprint.hex(),
            "model": self.model,
            "capture_time": packet.capture_time,
            "extensions": [{"type": entry.type, "bytes": len(entry.data)} for entry in packet.extensions],
            "compression_ratio": self.compression_ratio,
            "levels": [level.as_dict() for level in self.levels],
        }


def inspect_packet(packet: Packet, size: int, model: Model) -> Inspection:
    """Take a packet apart; with its own model its payloads are decoded too, so that a corrupt one is found.

    Args:
        packet: parsed.
        size: its bytes.
        model: where the packet was made with another, only the container is looked at.

    Raises:
        ProtocolError: its codec would not have written it for the model.
    """
    if packet.fingerprint != model.fingerprint:
        return Inspection(packet, size, None, None, tuple(_sent(chunk, None) for chunk in packet.chunks))
    codec = codec_of(packet, model)
    geometry = codec.decoder().unpack(packet).geometry
    provenance = codec.provenance(packet.key_levels)
    return Inspection(packet, size, model.name, geometry.raw_bytes(), _all_levels(packet, geometry, provenance))


def _all_levels(packet: Packet, geometry: Geometry, provenance: Mapping[str, str]) -> tuple[LevelInspection, ...]:
    chunks = {chunk.level: chunk for chunk in packet.chunks}
    pyramid = [
        _sent(chunks[level], geometry.elements([level])) if level in chunks else LevelInspection(level, source)
        for level, source in provenance.items()
    ]
    latents = [_sent(chunk, None) for chunk in packet.chunks if chunk.level not in provenance]
    return (*latents, *pyramid)


def _sent(chunk: Chunk, elements: int | None) -> LevelInspection:
    return LevelInspection(
        chunk.level,
        "sent",
        chunk.coder,
        _in_words(chunk.quantization),
        len(chunk.header),
        len(chunk.payload),
        elements,
    )


def _in_words(quantization: Quantization) -> str:
    if isinstance(quantization, Float):
        return f"fp{quantization.bits}"
    if isinstance(quantization, Uniform):
        whose = "model's" if quantization.ranges is None else "sent"
        return f"int{quantization.bits}, {whose} ranges"
    return "integers of the model's tables"
