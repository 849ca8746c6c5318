"""A second decoder of the wire format, written from docs/wire-format.md alone: plain Python integers, no NumPy, no
constriction, nothing of `protocol`. Tests hold it against `protocol` on the golden packets.

It trusts its input: golden packets are whole. Python's own floats appear only in `reconstruct`, rounded to float32
after each operation. zstd payloads come back as they are, for the caller to decompress.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CODECS = {1: "raw", 2: "interpolate", 3: "learned", 4: "network"}
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
    coder = AnsStream(stream)
    symbols = coder.take(count, [entry * (1 << 24) // sum(counts) for entry in counts])
    coder.finish()
    return symbols


class AnsStream:
    """An ANS stream, decoded group by group."""

    def __init__(self, stream: bytes) -> None:
        cursor = Cursor(stream)
        self.words = [cursor.uint(4) for _ in range(len(stream) // 4)]
        self.state = 0
        self.refill()
        self.refill()

    def refill(self) -> None:
        """Takes a word where the state has room for one."""
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def take(self, count: int, counts: list[int]) -> list[int]:
        """The next `count` symbols, of a table whose counts sum to 2**24."""
        first = [0]
        for entry in counts:
            first.append(first[-1] + entry)
        assert first[-1] == 1 << 24
        symbols = []
        for _ in range(count):
            slot = self.state & 0xFFFFFF
            symbol = next(index for index in range(len(counts)) if first[index + 1] > slot)
            self.state = (self.state >> 24) * counts[symbol] + slot - first[symbol]
            self.refill()
            symbols.append(symbol)
        return symbols

    def finish(self) -> None:
        """The coder must be empty."""
        assert self.state == 0xFFFFFF
        assert not self.words


Position = tuple[int, int, int]


@dataclass
class LatentTables:
    """The model of one latent: the arrays of the page as nested lists."""

    stride: int
    groups: list[int]
    tables: list[list[int]]
    bias: list[list[list[int]]]
    kernels: list[list[list[list[list[int]]]]]
    coarse: list[list[int]] | None
    prediction: list[list[list[int]]]


def decode_latents(
    payloads: list[bytes], models: list[LatentTables], padded_size: tuple[int, int], quality: int
) -> list[dict[Position, int]]:
    """The latents of a frame, each a dictionary from (c, i, j) to the symbol, in [c][i][j] order."""
    latents: list[dict[Position, int]] = []
    for payload, model in zip(payloads, models, strict=True):
        height, width = (-(-side // model.stride) for side in padded_size)
        if latents:
            ratio = models[len(latents) - 1].stride // model.stride
            coarser = {(c, i * ratio, j * ratio): symbol for (c, i, j), symbol in latents[-1].items()}
        else:
            ratio, coarser = 1, {}
        stream = AnsStream(payload)
        latent: dict[Position, int] = {}
        for channels in ranges_of(model.groups):
            for parity in (0, 1):
                waiting: dict[int, list[Position]] = {}
                predicted = {}
                for position in ((c, i, j) for c in channels for i in range(height) for j in range(width)):
                    if sum(position[1:]) % 2 == parity:
                        total = model.bias[quality - 1][parity][position[0]]
                        total += context(model, channels, position, latent)
                        total += coarse_context(model, position, coarser, ratio)
                        scales = len(model.tables) // 4
                        scale = max(0, min(total // 128, scales - 1))
                        whole, left = predict(model.prediction[quality - 1], position, latent) if parity else (0, 0)
                        predicted[position] = whole, left
                        waiting.setdefault(min(abs(left) // 16, 3) * scales + scale, []).append(position)
                bound = len(model.tables[0]) // 2
                for table, positions in sorted(waiting.items()):
                    symbols = stream.take(len(positions), model.tables[table])
                    for position, symbol in zip(positions, symbols, strict=True):
                        latent[position] = from_residual(symbol - bound, *predicted[position], bound)
        stream.finish()
        latents.append(dict(sorted(latent.items())))
    return latents


def ranges_of(groups: list[int]) -> list[range]:
    """The channels of each channel group."""
    return [range(sum(groups[:index]), sum(groups[: index + 1])) for index in range(len(groups))]


def activity(symbol: int) -> int:
    """The number of bits of |symbol|, at most 8."""
    return min(abs(symbol).bit_length(), 8)


def context(model: LatentTables, channels: range, position: Position, known: dict[Position, int]) -> int:
    """What the symbols of the same latent add to a sum, as far as they are known before the pass."""
    c, i, j = position
    kernel = model.kernels[ranges_of(model.groups).index(channels)][c - channels.start]
    return sum(
        kernel[k][di][dj] * activity(known.get((k, i + di - 1, j + dj - 1), 0))
        for k in range(channels.stop)
        for di in range(3)
        for dj in range(3)
    )


def predict(prediction: list[list[int]], position: Position, known: dict[Position, int]) -> tuple[int, int]:
    """The whole number nearest to what the four neighbours predict, and what is left, in steps of 1/128."""
    c, i, j = position
    neighbours = ((c, i - 1, j), (c, i, j - 1), (c, i, j + 1), (c, i + 1, j))
    total = sum(w * known.get(neighbour, 0) for w, neighbour in zip(prediction[c], neighbours, strict=True))
    whole = (total + 64) // 128
    return whole, total - 128 * whole


def from_residual(residual: int, whole: int, left: int, bound: int) -> int:
    """The symbol that a residual stands for."""
    symbol = (-residual if left < 0 else residual) + max(-bound, min(whole, bound))
    return (symbol + bound) % (2 * bound + 1) - bound


def coarse_context(model: LatentTables, position: Position, coarser: dict[Position, int], ratio: int) -> int:
    """What the coarser latent adds to a sum; its positions are given in those of this latent."""
    c, i, j = position
    return sum(
        weight * activity(coarser[k, i - i % ratio, j - j % ratio])
        for k, weight in enumerate(model.coarse[c] if model.coarse else [])
    )


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
