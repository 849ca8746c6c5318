import struct
from dataclasses import replace

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.chunk import LEVEL_IDS, Chunk, Float, Latent, Uniform
from keyfpn.protocol.errors import (
    BadMagic,
    ChecksumMismatch,
    FingerprintMismatch,
    InvalidField,
    LimitExceeded,
    ProtocolError,
    TrailingBytes,
    Truncated,
    UnsupportedVersion,
)
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import CODEC_IDS, Extension, Packet, codec_name
from keyfpn.protocol.quantization import Ranges

PACKET = Packet(
    codec="learned",
    quality=5,
    fingerprint=b"\x01\x02\x03\x04\x05\x06\x07\x08",
    stream_id=1,
    frame_id=2,
    capture_time=3,
    image_size=(480, 640),
    network_size=(384, 512),
    chunks=(Chunk("y0", "ans", Latent(), b"latent 0"), Chunk("y1", "ans", Latent(), b"latent 1")),
)

U64 = st.integers(0, 2**64 - 1)
SIDES = st.integers(1, 8192)
RANGES = [
    Ranges([low], [step], bits) for low, step, bits in ((0, 1, 2), (-1.5, 0.25, 4), (1e30, 1e-30, 7), (-0.0, 1, 8))
]
CODINGS = st.one_of(
    st.tuples(st.sampled_from([Float(16), Float(32)]), st.sampled_from(["store", "zstd"])),
    st.tuples(
        st.one_of(
            st.integers(2, 8).map(Uniform), st.sampled_from(RANGES).map(lambda ranges: Uniform(ranges.bits, ranges))
        ),
        st.sampled_from(["store", "zstd", "ans"]),
    ),
)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Chunk, ...]:
    drawn = []
    for level in sorted(draw(st.sets(st.sampled_from(sorted(LEVEL_IDS)), max_size=6)), key=LEVEL_IDS.__getitem__):
        quantization, coder = (Latent(), "ans") if level.startswith("y") else draw(CODINGS)
        drawn.append(Chunk(level, coder, quantization, draw(st.binary(max_size=200))))
    return tuple(drawn)


PACKETS = st.builds(
    Packet,
    codec=st.sampled_from([*sorted(CODEC_IDS), "private-128", "private-255"]),
    quality=st.integers(0, 255),
    fingerprint=st.binary(min_size=8, max_size=8),
    stream_id=U64,
    frame_id=U64,
    capture_time=U64,
    image_size=st.tuples(st.integers(1, 65535), st.integers(1, 65535)),
    network_size=st.tuples(SIDES, SIDES),
    chunks=chunks(),
    extensions=st.lists(st.builds(Extension, st.integers(0, 255), st.binary(max_size=300)), max_size=3).map(tuple),
)


def with_checksum(body: bytes) -> bytes:
    return body + struct.pack("<I", google_crc32c.value(body))


@given(PACKETS)
def test_round_trip(packet: Packet) -> None:
    data = packet.serialize()
    assert Packet.parse(data) == packet
    assert Packet.parse(data).serialize() == data
    assert packet.key_levels == tuple(chunk.level for chunk in packet.chunks)


def test_header_sizes() -> None:
    assert len(replace(PACKET, chunks=()).serialize()) == 53
    big = (Chunk("y0", "ans", Latent(), bytes(2**21 - 1)), Chunk("y1", "ans", Latent(), bytes(2**21 - 1)))
    assert len(replace(PACKET, chunks=big).serialize()) - 2 * (2**21 - 1) <= 64


@given(PACKETS, st.data())
def test_damage_is_found(packet: Packet, data: st.DataObject) -> None:
    sent = packet.serialize()
    position = data.draw(st.integers(0, len(sent) - 1))
    burst = data.draw(st.integers(1, 255))  # up to 8 bits in a row, which a CRC of 32 bits always tells
    received = sent[:position] + bytes([sent[position] ^ burst]) + sent[position + 1 :]
    with pytest.raises((BadMagic, UnsupportedVersion, ChecksumMismatch)):
        Packet.parse(received)


def test_damage_message() -> None:
    sent = PACKET.serialize()
    with pytest.raises(
        ChecksumMismatch, match=r"CRC-32C of a packet of 75 bytes: expected 0x\w{8} as its last 4 bytes say"
    ):
        Packet.parse(sent[:-6] + b"\0" + sent[-5:])


@pytest.mark.parametrize("data", [b"GIF8", b"\x89PNG\r\n\x1a\n" + bytes(100), b"K\0", b"\0", bytes(60)])
def test_other_files(data: bytes) -> None:
    with pytest.raises(BadMagic, match=r"expected the magic b'KFPN', found .* no keyfpn packet"):
        Packet.parse(data)


@pytest.mark.parametrize("version", [0, 2, 255])
@pytest.mark.parametrize("rest", [b"", bytes(100)])
def test_other_versions(version: int, rest: bytes) -> None:
    """Told before the checksum, which another version may have elsewhere."""
    with pytest.raises(UnsupportedVersion, match=f"expected 1, found {version}. Bring edge and server"):
        Packet.parse(b"KFPN" + bytes([version]) + rest)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 52])
def test_beginnings(length: int) -> None:
    with pytest.raises(Truncated, match=f"packet: expected at least 53 bytes, found {length}"):
        Packet.parse(PACKET.serialize()[:length])


# Offsets of the fields, see docs/wire-format.md.
@pytest.mark.parametrize(
    ("offset", "field", "kind", "fault"),
    [
        (5, b"\x00", InvalidField, "codec: expected one of .1, 2, 3, 4., or 128 to 255 .*, found 0"),
        (5, b"\x05", InvalidField, "codec: expected one of .1, 2, 3, 4., or 128 to 255 .*, found 5"),
        (39, b"\x00\x00", InvalidField, "image size: .* found 0 x 640"),
        (41, b"\x00\x00", InvalidField, "image size: .* found 480 x 0"),
        (43, b"\x00\x00", InvalidField, "network size: .* found 0 x 512"),
        (43, b"\x01\x20", LimitExceeded, "network size: expected at most 8192 pixels a side, found 8193"),
        (45, b"\xff\xff", LimitExceeded, "network size: expected at most 8192 pixels a side, found 65535"),
        (47, b"\x11", LimitExceeded, "chunks: expected at most 16, found 17"),
        (47, b"\x03", Truncated, "packet, level of a chunk"),
        (47, b"\x01", TrailingBytes, "found 11 bytes"),
        (47, b"\x00", TrailingBytes, "found 22 bytes"),
        (48, b"\xff\xff\xff\xff\x7f", LimitExceeded, "extension area: expected at most 65536 bytes, found 34359738367"),
        (48, b"\x7f", Truncated, "packet, extension area: expected 127 bytes"),
        (48, b"\x01\x00", Truncated, "extension area, length: expected 1 bytes"),
        (48, b"\x03\x00\x02", Truncated, "extension area, data: expected 2 bytes at offset 2, found 1"),
        (60, b"\x10", InvalidField, "chunks: expected each level once, in ascending order, found y0, y0"),
        (49, b"\x12", InvalidField, "chunks: expected each level once, in ascending order, found y2, y1"),
        (51, b"\xff\xff\xff\xff\x7f", Truncated, "payload of y0: expected 34359738367 bytes"),
    ],
)
def test_fields_with_other_values(offset: int, field: bytes, kind: type[ProtocolError], fault: str) -> None:
    body = PACKET.serialize()[:-4]
    with pytest.raises(kind, match=fault):
        Packet.parse(with_checksum(body[:offset] + field + body[offset + len(field) :]))


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        (
            "codec",
            "jpeg",
            "codec: expected one of raw, .*, or private-128 to private-255, found 'jpeg'",
        ),
        ("quality", 256, r"quality: expected 0 to 2\*\*8 - 1, found 256"),
        ("quality", -1, r"quality: expected 0 to 2\*\*8 - 1, found -1"),
        ("fingerprint", b"1234567", "model fingerprint: expected 8 bytes, found 7"),
        ("stream_id", 2**64, "stream id"),
        ("frame_id", -1, "frame id"),
        ("capture_time", 2**64, "capture time"),
        ("image_size", (0, 5), "image size"),
        ("image_size", (5, 65536), "image size"),
        ("network_size", (5, 0), "network size"),
        ("extensions", (Extension(256, b""),), "extension type"),
        ("chunks", PACKET.chunks[::-1], "ascending order, found y1, y0"),
        ("chunks", PACKET.chunks[:1] * 2, "each level once"),
    ],
)
def test_nothing_is_written_that_would_be_refused(field: str, value: object, fault: str) -> None:
    with pytest.raises(InvalidField, match=fault):
        replace(PACKET, **{field: value}).serialize()


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        (Limits(max_packet_bytes=82), "packet: expected at most 82 bytes, found 83"),
        (Limits(max_side=511), "network size"),
        (Limits(max_chunks=1), "chunks"),
        (Limits(max_extension_bytes=7), "extension area: expected at most 7 bytes, found 8"),
    ],
)
def test_both_ends_keep_the_limits(limits: Limits, fault: str) -> None:
    packet = replace(PACKET, extensions=(Extension(9, b"123456"),))
    data = packet.serialize()
    assert len(data) == 83
    for attempt in (lambda: packet.serialize(limits), lambda: Packet.parse(data, limits)):
        with pytest.raises(LimitExceeded, match=fault):
            attempt()
    exact = Limits(max_packet_bytes=83, max_side=512, max_chunks=2, max_extension_bytes=8)
    assert Packet.parse(packet.serialize(exact), exact) == packet


def test_fingerprints() -> None:
    PACKET.require_fingerprint(PACKET.fingerprint)
    with pytest.raises(FingerprintMismatch) as raised:
        PACKET.require_fingerprint(bytes(8))
    assert (raised.value.expected, raised.value.found) == ("0000000000000000", "0102030405060708")
    assert "same model" in str(raised.value)


def test_unknown_extensions_are_kept_in_order() -> None:
    entries = (Extension(255, b"later"), Extension(0, b""), Extension(255, bytes(200)))
    packet = replace(PACKET, extensions=entries)
    assert Packet.parse(packet.serialize()).extensions == entries
    assert Packet.parse(packet.serialize()).chunks == PACKET.chunks


def test_bytes_from_a_receive_buffer() -> None:
    data = PACKET.serialize()
    for buffer in (bytearray(data), memoryview(data)):
        assert Packet.parse(bytes(buffer)) == PACKET


@pytest.mark.parametrize("codec_id", range(256))
def test_codec_ids_are_keyfpns_own_or_private(codec_id: int) -> None:
    """Private codecs are named by their id, so that packets of unknown ones can still be looked at."""
    if 1 <= codec_id <= 4:
        assert CODEC_IDS[codec_name(codec_id)] == codec_id
    elif codec_id >= 128:
        assert codec_name(codec_id) == f"private-{codec_id}"
        sent = replace(PACKET, codec=f"private-{codec_id}").serialize()
        assert sent[5] == codec_id
        assert Packet.parse(sent).codec == f"private-{codec_id}"
    else:
        with pytest.raises(InvalidField, match=f"codec: .* found {codec_id}"):
            codec_name(codec_id)
