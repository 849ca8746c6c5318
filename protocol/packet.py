"""The packet: everything that one frame sends. `docs/wire-format.md` specifies it byte by byte.

    magic | version | codec | quality | fingerprint | stream | frame | time | sizes | extensions | chunks | CRC-32C

Sans-I/O: bytes in, `Packet` out, and back.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import google_crc32c

from keyfpn.protocol.chunk import LEVEL_IDS, Chunk
from keyfpn.protocol.errors import (
    BadMagic,
    ChecksumMismatch,
    FingerprintMismatch,
    InvalidField,
    LimitExceeded,
    TrailingBytes,
    Truncated,
    UnsupportedVersion,
)
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.wire import Reader, write_varint

MAGIC = b"KFPN"
VERSION = 1
CODEC_IDS = {"raw": 1, "interpolate": 2, "learned": 3, "network": 4}
FINGERPRINT_BYTES = 8
PRIVATE_CODEC_IDS = range(128, 256)
"""Of codecs that are not keyfpn's own: sender and receiver agree on them, no release of keyfpn will define them."""
_CODECS = {codec_id: codec for codec, codec_id in CODEC_IDS.items()} | {
    codec_id: f"private-{codec_id}" for codec_id in PRIVATE_CODEC_IDS
}
_CODEC_IDS = {codec: codec_id for codec_id, codec in _CODECS.items()}
_KNOWN_IDS = f"one of {sorted(CODEC_IDS.values())}, or 128 to 255 for private codecs"
_PREFIX = struct.Struct("<4sB")
_FIELDS = struct.Struct(f"<BB{FINGERPRINT_BYTES}sQQQHHHHB")
_CHECKSUM = struct.Struct("<I")
_SMALLEST = _PREFIX.size + _FIELDS.size + 1 + _CHECKSUM.size  # the 1: the length of an empty extension area


def codec_name(codec_id: int) -> str:
    """A codec's name in `Packet.codec`: keyfpn's own name, or `private-128` to `private-255`.

    Raises:
        InvalidField: an id that the format does not define.
    """
    if codec_id not in _CODECS:
        raise InvalidField("codec", _KNOWN_IDS, codec_id)
    return _CODECS[codec_id]


class Extension(NamedTuple):
    """An entry of the extension area. Receivers keep types that they do not know, and pass over them."""

    type: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One frame's key levels, with all that a receiver needs to decode them besides the model files.

    Attributes:
        codec: `"raw"`, `"interpolate"`, `"learned"` or `"network"`; of others the wire id, as `codec_name` gives it.
        quality: the codec's own scale, 0 to 255.
        fingerprint: the first 8 bytes of the SHA-256 of the model's manifest.
        stream_id: which stream of frames; u64.
        frame_id: which frame of it; u64.
        capture_time: microseconds since the Unix epoch; u64.
        image_size: (height, width) of the original picture, in pixels; 1 to 65535.
        network_size: (height, width) of the resized picture before padding; 1 to 65535, and within the limits.
        chunks: the coded levels, in ascending order of their level ids, each level once.
        extensions: entries of the extension area.
    """

    codec: str
    quality: int
    fingerprint: bytes
    stream_id: int
    frame_id: int
    capture_time: int
    image_size: tuple[int, int]
    network_size: tuple[int, int]
    chunks: tuple[Chunk, ...]
    extensions: tuple[Extension, ...] = ()

    @property
    def key_levels(self) -> tuple[str, ...]:
        """Names of the levels that the packet carries."""
        return tuple(chunk.level for chunk in self.chunks)

    def require_fingerprint(self, expected: bytes) -> None:
        """Raises FingerprintMismatch unless the packet was made with the model of the `expected` fingerprint."""
        if self.fingerprint != expected:
            raise FingerprintMismatch(
                "model fingerprint",
                expected.hex(),
                self.fingerprint.hex(),
                "Edge and server must hold the same model: compare the manifest.json of both.",
            )

    def serialize(self, limits: Limits = DEFAULT_LIMITS) -> bytes:
        """The packet's bytes, which `parse` with the same limits accepts and turns into an equal packet.

        Raises:
            InvalidField: a field out of its range.
            LimitExceeded: a packet that a receiver with these limits would refuse.
        """
        self._check(limits)
        area = b"".join(bytes([entry.type]) + write_varint(len(entry.data)) + entry.data for entry in self.extensions)
        _check_limit("extension area", limits.max_extension_bytes, len(area), "bytes")
        parts = [
            _PREFIX.pack(MAGIC, VERSION),
            _FIELDS.pack(
                _CODEC_IDS[self.codec],
                self.quality,
                self.fingerprint,
                self.stream_id,
                self.frame_id,
                self.capture_time,
                *self.image_size,
                *self.network_size,
                len(self.chunks),
            ),
            write_varint(len(area)),
            area,
        ]
        for chunk in self.chunks:
            parts += (chunk.header, chunk.payload)
        size = sum(map(len, parts)) + _CHECKSUM.size
        _check_limit("packet", limits.max_packet_bytes, size, "bytes")
        body = b"".join(parts)
        return body + _CHECKSUM.pack(google_crc32c.value(body))

    @classmethod
    def parse(cls, data: bytes, limits: Limits = DEFAULT_LIMITS) -> "Packet":
        """Reads a packet. Payloads are still coded: `chunk.decode_level` decodes them.

        Args:
            data: exactly one packet.
            limits: what the receiver is willing to hold.

        Raises:
            ProtocolError: anything but a packet of this version within the limits. The checksum is compared before
                any field but magic and version is read, so that damage is reported as damage.
        """
        _check_limit("packet", limits.max_packet_bytes, len(data), "bytes")
        body = _verify(data)
        reader = Reader(body, "packet")
        reader.take(_PREFIX.size, "magic and version")
        codec_id, quality, fingerprint, stream_id, frame_id, capture_time, *sizes, chunk_count = _FIELDS.unpack(
            reader.take(_FIELDS.size, "fields")
        )
        codec = codec_name(codec_id)
        _check_limit("chunks", limits.max_chunks, chunk_count)
        area_length = reader.varint("length of the extension area")
        _check_limit("extension area", limits.max_extension_bytes, area_length, "bytes")
        extensions = _read_extensions(reader.take(area_length, "extension area"))
        chunks = tuple(Chunk.read(reader) for _ in range(chunk_count))
        if reader.remaining:
            raise TrailingBytes(
                "packet", "nothing between the last chunk and the checksum", f"{reader.remaining} bytes"
            )
        packet = cls(
            codec=codec,
            quality=quality,
            fingerprint=fingerprint,
            stream_id=stream_id,
            frame_id=frame_id,
            capture_time=capture_time,
            image_size=(sizes[0], sizes[1]),
            network_size=(sizes[2], sizes[3]),
            chunks=chunks,
            extensions=extensions,
        )
        packet._check(limits)
        return packet

    def _check(self, limits: Limits) -> None:
        """What `serialize` must not write and `parse` must not accept."""
        if self.codec not in _CODEC_IDS:
            expected = f"one of {', '.join(CODEC_IDS)}, or private-128 to private-255"
            raise InvalidField("codec", expected, repr(self.codec))
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise InvalidField("model fingerprint", f"{FINGERPRINT_BYTES} bytes", len(self.fingerprint))
        for field, bits, value in (
            ("quality", 8, self.quality),
            ("stream id", 64, self.stream_id),
            ("frame id", 64, self.frame_id),
            ("capture time", 64, self.capture_time),
            *(("extension type", 8, entry.type) for entry in self.extensions),
        ):
            if not 0 <= value < 1 << bits:
                raise InvalidField(field, f"0 to 2**{bits} - 1", value)
        for field, (height, width) in (("image size", self.image_size), ("network size", self.network_size)):
            if not (0 < height < 1 << 16 and 0 < width < 1 << 16):
                raise InvalidField(field, "height and width from 1 to 65535", f"{height} x {width}")
        _check_limit("network size", limits.max_side, max(self.network_size), "pixels a side")
        _check_limit("chunks", limits.max_chunks, len(self.chunks))
        level_ids = [LEVEL_IDS[chunk.level] for chunk in self.chunks]
        if level_ids != sorted(set(level_ids)):
            raise InvalidField("chunks", "each level once, in ascending order", ", ".join(self.key_levels))


def _verify(data: bytes) -> bytes:
    """Checks magic, version and checksum; returns the bytes before the checksum."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise BadMagic("packet", f"the magic {MAGIC!r}", repr(data[: len(MAGIC)]), "These bytes are no keyfpn packet.")
    if len(data) >= _PREFIX.size and data[len(MAGIC)] != VERSION:
        raise UnsupportedVersion(
            "format version", VERSION, data[len(MAGIC)], "Bring edge and server to the same keyfpn release."
        )
    if len(data) < _SMALLEST:
        raise Truncated("packet", f"at least {_SMALLEST} bytes", len(data))
    body = data[: -_CHECKSUM.size]
    (sent,) = _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    computed = google_crc32c.value(body)
    if computed != sent:
        raise ChecksumMismatch(
            f"CRC-32C of a packet of {len(data)} bytes",
            f"{sent:#010x} as its last 4 bytes say",
            f"{computed:#010x}",
            "The packet was damaged or cut short on its way.",
        )
    return body


def _read_extensions(area: bytes) -> tuple[Extension, ...]:
    reader = Reader(area, "extension area")
    entries = []
    while reader.remaining:
        entry_type = reader.uint(1, "type")
        entries.append(Extension(entry_type, reader.take(reader.varint("length"), "data")))
    return tuple(entries)


def _check_limit(subject: str, limit: int, found: int, unit: str = "") -> None:
    if found > limit:
        raise LimitExceeded(subject, f"at most {limit} {unit}".rstrip(), found, "The receiver's Limits set this bound.")
