"""Whatever the bytes are: a named error or a value, within the limits' memory."""

import struct
import tracemalloc
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.chunk import Chunk, Float, Quantization, Uniform, decode_level
from keyfpn.protocol.errors import CorruptPayload, LimitExceeded, ProtocolError
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.latent import LatentCoder
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.wire import write_varint
from tests.protocol.golden import learned
from tests.protocol.golden.make import GEOMETRY, MODEL_RANGES, PACKETS_ON_DISK, QUALITY

NAMES = sorted(PACKETS_ON_DISK)
ANY_BYTE = (0x00, 0x01, 0x02, 0x03, 0x10, 0x7F, 0x80, 0x81, 0xFE, 0xFF)


def receive(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[np.ndarray]:
    """As a server does: parse, derive the shapes, decode every pyramid level, or the latents of the golden model."""
    packet = Packet.parse(data, limits)
    if packet.codec == "learned":
        geometry = replace(learned.GEOMETRY, network_size=packet.network_size)
        return list(learned.CODER.decode(packet.chunks, geometry, packet.quality, limits))
    geometry = replace(GEOMETRY, network_size=packet.network_size)
    levels = []
    for chunk in packet.chunks:
        if chunk.level.startswith("p"):
            ranges = MODEL_RANGES.get(chunk.quantization.bits) if isinstance(chunk.quantization, Uniform) else None
            levels.append(decode_level(chunk, geometry.level_shape(chunk.level), limits, ranges))
    return levels


def with_checksum(body: bytes) -> bytes:
    return body + struct.pack("<I", google_crc32c.value(body))


def check_named(error: ProtocolError) -> None:
    """Every error is of a kind of its own and says what was expected and what was found."""
    assert type(error) is not ProtocolError
    assert error.subject
    assert str(error.expected) != str(error.found)


def received(body: bytes) -> list[np.ndarray] | None:
    """The levels of a body with the right checksum; None where it is refused with a named error."""
    try:
        levels = receive(with_checksum(body), Limits(max_elements=1 << 16))
    except ProtocolError as error:
        check_named(error)
        return None
    assert all(np.isfinite(level).all() for level in levels)
    return levels


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_byte(name: str) -> None:
    data = PACKETS_ON_DISK[name]
    for length in range(len(data)):
        with pytest.raises(ProtocolError) as raised:
            Packet.parse(data[:length])
        check_named(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_byte_with_a_right_checksum(name: str) -> None:
    data = PACKETS_ON_DISK[name]
    for length in range(len(data) - 4):
        with pytest.raises(ProtocolError) as raised:
            Packet.parse(with_checksum(data[:length]))
        check_named(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_bit_flipped(name: str) -> None:
    data = PACKETS_ON_DISK[name]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError) as raised:
            Packet.parse(bytes(flipped))
        check_named(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_changed_with_a_right_checksum(name: str) -> None:
    body = PACKETS_ON_DISK[name][:-4]
    refused = 0
    for offset, byte in enumerate(body):
        for value in {*ANY_BYTE, byte ^ 1, byte ^ 0x80, byte + 1 & 0xFF} - {byte}:
            refused += received(body[:offset] + bytes([value]) + body[offset + 1 :]) is None
    assert refused > len(body) / 2


def test_every_value_of_every_byte_of_the_header() -> None:
    body = PACKETS_ON_DISK["example"][:-4]
    header_bytes = len(body) - 20  # all but the ANS stream
    refused = sum(
        received(body[:offset] + bytes([value]) + body[offset + 1 :]) is None
        for offset in range(header_bytes)
        for value in range(256)
    )
    assert 256 * header_bytes / 4 < refused < 256 * header_bytes


@given(st.sampled_from(NAMES), st.binary(max_size=12), st.data())
def test_a_span_replaced_by_anything(name: str, replacement: bytes, data: st.DataObject) -> None:
    body = PACKETS_ON_DISK[name][:-4]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 12)))
    received(body[:start] + replacement + body[end:])


QUANTIZATIONS: list[Quantization] = [Float(32), Float(16), Uniform(2), Uniform(3)]


@given(
    st.sampled_from(QUANTIZATIONS), st.sampled_from(["store", "zstd", "ans"]), st.binary(max_size=200), st.booleans()
)
def test_any_payload(quantization: Quantization, coder: str, payload: bytes, compressed: bool) -> None:
    if coder == "ans" and isinstance(quantization, Float):
        coder = "zstd"
    if coder == "zstd" and compressed:
        payload = zstandard.compress(payload)
    chunk = Chunk("p3", coder, quantization, payload)
    try:
        decoded = decode_level(chunk, (2, 3, 4), model_ranges=MODEL_RANGES.get(quantization.bits))
    except ProtocolError as error:
        check_named(error)
        return
    assert decoded.shape == (2, 3, 4)
    assert np.isfinite(decoded).all()


def peak_bytes(attempt: object) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as raised:
            attempt()
        check_named(raised.value)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


HUGE = write_varint(2**35 - 1)
HEADER = PACKETS_ON_DISK["example"][:47]


@pytest.mark.parametrize(
    "tail",
    [
        b"\xff" + b"\0" + b"\x03\x00\x00" * 9,  # 255 chunks
        b"\x00" + HUGE,  # extension area
        b"\x00\x06\x01" + HUGE,  # an extension
        b"\x01\x00\x03\x00" + HUGE,  # payload
        b"\x01\x00\x03\x03\x02" + HUGE,  # channels of ranges
    ],
)
def test_lengths_that_lie_cost_nothing(tail: bytes) -> None:
    assert peak_bytes(lambda: receive(with_checksum(HEADER + tail))) < 100_000


def frame_that_says(size: int) -> bytes:
    """A zstd frame of a few bytes whose header gives a content size of `size`: magic, descriptor, window, size."""
    return bytes.fromhex("28b52ffd") + b"\xc0\x58" + struct.pack("<Q", size) + b"\x01\x00\x00"


@pytest.mark.parametrize("size", [1 << 30, 1 << 40, (1 << 64) - 2])
def test_zstd_bombs_cost_nothing(size: int) -> None:
    bombs = [frame_that_says(size), zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 24))]
    for bomb in bombs:
        chunk = Chunk("p3", "zstd", Float(32), bomb)
        assert peak_bytes(lambda chunk=chunk: decode_level(chunk, (2, 4, 8))) < 100_000


def test_a_zstd_frame_that_says_the_right_size_and_holds_more() -> None:
    """2**26 zeros behind a header that says 256: the output is bounded by what the header says."""
    frame = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(1 << 26)))
    assert frame[4] == 0x80  # after the magic and this descriptor: window, 1 byte, and content size, 4 bytes
    frame[6:10] = struct.pack("<I", 256)
    chunk = Chunk("p3", "zstd", Float(32), bytes(frame))
    assert peak_bytes(lambda: decode_level(chunk, (2, 4, 8))) < 100_000
    with pytest.raises(CorruptPayload, match="one whole zstd frame"):
        decode_level(chunk, (2, 4, 8))


def test_sizes_that_would_take_gigabytes() -> None:
    """The largest picture that the limits let through, at a zoo model's 256 channels: p2 would be 4 GiB."""
    geometry = Geometry(network_size=(8192, 8192), channels=256, size_divisibility=32)
    for coder in ("store", "zstd", "ans"):
        chunk = Chunk("p2", coder, Uniform(2), bytes(40))
        attempt = lambda chunk=chunk: decode_level(chunk, geometry.level_shape("p2"), model_ranges=MODEL_RANGES[2])
        assert peak_bytes(attempt) < 100_000
        with pytest.raises(LimitExceeded, match="elements of p2"):
            attempt()


def test_latents_that_would_take_gigabytes() -> None:
    chunks = learned.CODER.encode(learned.LATENTS, QUALITY)
    geometry = replace(learned.GEOMETRY, network_size=(65535, 65535))  # y2 would take 2 GiB
    assert peak_bytes(lambda: learned.CODER.decode(chunks, geometry, QUALITY)) < 100_000


def test_a_latent_takes_a_fixed_number_of_bytes_per_element() -> None:
    """The worst honest case: the tables of zeros for every symbol, so that a few bytes stand for whole latents."""
    tables = np.array([[1, (1 << 24) - 2, 1]] * 4, np.uint32)
    coder = LatentCoder([replace(learned.model(0), tables=tables)])
    geometry = Geometry(network_size=(1 << 14, 1 << 15), channels=1, size_divisibility=0)
    (shape,) = coder.shapes(geometry)
    (chunk,) = coder.encode([np.zeros(shape, np.int32)], QUALITY)
    assert len(chunk.payload) < 100
    longer = [replace(chunk, payload=chunk.payload + b"\1\0\0\0")]
    assert peak_bytes(lambda: coder.decode(longer, geometry, QUALITY)) < 50 * np.prod(shape)


def test_a_level_takes_a_fixed_number_of_bytes_per_element() -> None:
    """The worst honest case, an ANS payload of a few bytes that stands for a whole level."""
    chunk = Chunk("p3", "ans", Uniform(2), b"\xfc\xff\x03\0\0\0" + struct.pack("<I", 0xFFFFFF))
    shape = (2, 1024, 1024)
    limit = Limits(max_elements=2 << 20)
    assert peak_bytes(lambda: decode_level(chunk, shape, limit, MODEL_RANGES[2])) < 10 * (2 << 20)
