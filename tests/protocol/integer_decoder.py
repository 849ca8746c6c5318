"""A second decoder of the wire format, written from docs/wire-format.md alone: plain Python integers, no NumPy, no
constriction, nothing of `protocol`. Tests hold it against `protocol` on the golden packets.

It trusts its input: golden packets are whole. Python's own floats appear only in `reconstruct`, rounded to float32
after each operation. zstd payloads come back as they are, for the caller to decompress.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CODECS = {1: "raw", 2: "interpolate", 3: "learned"}
CODERS = {0: "store", 1: "zstd", 2: "ans"}


@dataclass
class Level:
    """A chunk: its fields, and the payload still coded. Ranges are bfloat16 words, (low, step) per channel."""

    name: str
    coder: str
    scheme: int
    bits: int
    ranges: list[tuple[int, int]]
    payload: bytes


class Cursor:
    """Reads integers from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]

    def uint(self, size: int) -> int:
        """The next little-endian integer of `size` bytes."""
        return sum(byte << 8 * index for index, byte in enumerate(self.take(size)))

    def varint(self) -> int:
        """The next LEB128 integer."""
        value = shift = 0
        while True:
            byte = self.uint(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit: reflected polynomial 0x82F63B78, start and final XOR 0xFFFFFFFF."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read_packet(data: bytes) -> tuple[dict[str, object], list[Level]]:
    """The fields before the chunks, and the chunks."""
    cursor = Cursor(data)
    assert cursor.take(4) == b"KFPN"
    assert cursor.uint(1) == 1
    fields: dict[str, object] = {
        "codec": CODECS[cursor.uint(1)],
        "quality": cursor.uint(1),
        "fingerprint": cursor.take(8),
        "stream_id": cursor.uint(8),
        "frame_id": cursor.uint(8),
        "capture_time": cursor.uint(8),
        "image_size": (cursor.uint(2), cursor.uint(2)),
        "network_size": (cursor.uint(2), cursor.uint(2)),
    }
    chunk_count = cursor.uint(1)
    area = Cursor(cursor.take(cursor.varint()))
    extensions = []
    while area.at < len(area.data):
        extensions.append((area.uint(1), area.take(area.varint())))
    fields["extensions"] = tuple(extensions)
    levels = [read_chunk(cursor) for _ in range(chunk_count)]
    body = cursor.data[: cursor.at]
    assert cursor.uint(4) == crc32c(body)
    assert cursor.at == len(data)
    return fields, levels


def read_chunk(cursor: Cursor) -> Level:
    """The next chunk."""
    level_id, coding = cursor.uint(1), cursor.uint(1)
    name = f"p{level_id}" if level_id < 16 else f"y{level_id - 16}"
    scheme = coding & 15
    bits = {0: 32, 1: 16, 4: 0}[scheme] if scheme in (0, 1, 4) else cursor.uint(1)
    ranges = []
    if scheme == 3:
        channels = cursor.varint()
        ranges = [(cursor.uint(2), cursor.uint(2)) for _ in range(channels)]
    return Level(name, CODERS[coding >> 4], scheme, bits, ranges, cursor.take(cursor.varint()))


def unpack(payload: bytes, count: int, bits: int) -> list[int]:
    """Bit-packed symbols, most significant bit first."""
    whole = int.from_bytes(payload, "big")
    size = 8 * len(payload)
    symbols = [whole >> (size - (index + 1) * bits) & ((1 << bits) - 1) for index in range(count)]
    padding = size - count * bits
    assert 0 <= padding < 8
    assert whole & ((1 << padding) - 1) == 0
    return symbols


def decode_histogram_and_stream(payload: bytes, count: int, bits: int) -> list[int]:
    """The payload of the coder `ans` for uniform quantization."""
    cursor = Cursor(payload)
    counts = [cursor.varint() + 1 for _ in range(1 << bits)]
    assert sum(counts) == 1 << 16
    return decode_ans(cursor.data[cursor.at :], count, counts)


def decode_ans(stream: bytes, count: int, counts: list[int]) -> list[int]:
    """`count` symbols of one table, whose counts sum to 2**16 or 2**24; the coder must end empty."""
    scale = (1 << 24) // sum(counts)
    first = [0]
    for entry in counts:
        first.append(first[-1] + entry * scale)
    assert first[-1] == 1 << 24
    cursor = Cursor(stream)
    words = [cursor.uint(4) for _ in range(len(stream) // 4)]
    state = 0
    while state < 1 << 32 and words:
        state = state << 32 | words.pop()
    symbols = []
    for _ in range(count):
        slot = state & 0xFFFFFF
        symbol = next(index for index in range(len(counts)) if first[index + 1] > slot)
        state = (state >> 24) * (first[symbol + 1] - first[symbol]) + slot - first[symbol]
        if state < 1 << 32 and words:
            state = state << 32 | words.pop()
        symbols.append(symbol)
    assert state == 0xFFFFFF
    assert not words
    return symbols


def reconstruct(symbols: list[int], ranges: list[tuple[int, int]]) -> list[float]:
    """Values of symbols in channel order; ranges are bfloat16 words."""
    per_channel = len(symbols) // len(ranges)
    values = []
    for index, symbol in enumerate(symbols):
        low, step = (float32_of_word(word << 16) for word in ranges[index // per_channel])
        values.append(round_to_float32(low + round_to_float32(symbol * step)))
    return values


def float32_of_word(word: int) -> float:
    """The float32 with that bit pattern."""
    return struct.unpack("<f", struct.pack("<I", word))[0]


def round_to_float32(value: float) -> float:
    """The nearest float32. Exact operands of 24 bits make the double operation before it innocuous."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def floats(payload: bytes, bits: int) -> list[float]:
    """Values of schemes 0 and 1."""
    return list(struct.unpack(f"<{8 * len(payload) // bits}{'e' if bits == 16 else 'f'}", payload))
