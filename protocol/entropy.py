"""The coders of a chunk's payload: `store`, `zstd` and `ans`.

    coder   symbols of b bits                               floats
    store   bit-packed, most significant bit first          little-endian
    zstd    one byte per symbol, then one zstd frame        little-endian, then one zstd frame
    ans     the level's histogram, then one ANS stream      -

A decoder is told how many values to expect and refuses a payload that holds another number, before it allocates them.
"""

import numpy as np
import zstandard
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.errors import CorruptPayload, FeatureError
from keyfpn.protocol.wire import Reader, write_varint

CODER_IDS = {"store": 0, "zstd": 1, "ans": 2}
_ZSTD_LEVEL = 3
# Symbols handled at once, because unpacked bits and decoded int32 symbols take several times the memory of symbols. A
# multiple of 8, so that blocks of packed symbols end on whole bytes.
_BLOCK = 1 << 20

Symbols = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def encode_symbols(symbols: Symbols, bits: int, coder: str) -> bytes:
    """The payload of (N,) uint8 symbols below 2**bits."""
    if coder == "store":
        return _pack(symbols, bits)
    if coder == "zstd":
        return _compress(symbols.tobytes())
    counts = ans.normalize_counts(np.bincount(symbols, minlength=1 << bits))
    histogram = b"".join(write_varint(int(count) - 1) for count in counts)
    return histogram + ans.encode([(symbols.astype(np.int32), ans.AnsTable(counts))])


def decode_symbols(payload: bytes, count: int, bits: int, coder: str, subject: str) -> Symbols:
    """The (count,) uint8 symbols of a payload.

    Args:
        payload: what `encode_symbols` gave.
        count: how many symbols it holds.
        bits: bits of a symbol.
        coder: `"store"`, `"zstd"` or `"ans"`.
        subject: what the payload is, for the error messages.

    Raises:
        ProtocolError: anything but a payload of exactly `count` symbols below 2**bits.
    """
    if coder == "store":
        return _unpack(payload, count, bits, subject)
    if coder == "ans":
        return _decode_ans(payload, count, bits, subject)
    symbols = np.frombuffer(_decompress(payload, count, subject), dtype=np.uint8)
    if symbols.max() >> bits:
        raise CorruptPayload(subject, f"symbols of {bits} bits", f"the symbol {symbols.max()}")
    return symbols


def encode_floats(values: Float32, bits: int, coder: str) -> bytes:
    """The payload of float32 values as IEEE floats of 32 or 16 bits.

    Raises:
        FeatureError: values that are not finite, or not any more in 16 bits.
    """
    with np.errstate(over="ignore"):
        floats = values.astype(_float_type(bits))
    if not np.isfinite(floats).all():
        raise FeatureError("features to send", f"values that are finite as float{bits}", "some that are not")
    return floats.tobytes() if coder == "store" else _compress(floats.tobytes())


def decode_floats(payload: bytes, count: int, bits: int, coder: str, subject: str) -> Float32:
    """The (count,) float32 values of a payload.

    Args:
        payload: what `encode_floats` gave.
        count: how many values it holds.
        bits: 32 or 16.
        coder: `"store"` or `"zstd"`.
        subject: what the payload is, for the error messages.

    Raises:
        CorruptPayload: anything but a payload of exactly `count` finite values.
    """
    size = count * bits // 8
    if coder == "store":
        _check_length(payload, size, subject)
    else:
        payload = _decompress(payload, size, subject)
    values = np.frombuffer(payload, dtype=_float_type(bits)).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite))
        raise CorruptPayload(subject, "finite values", f"{values[index]} at element {index}")
    return values


def _float_type(bits: int) -> np.dtype[np.floating]:
    return np.dtype(f"<f{bits // 8}")


def _check_length(payload: bytes, expected: int, subject: str) -> None:
    if len(payload) != expected:
        raise CorruptPayload(subject, f"{expected} bytes", len(payload))


def _pack(symbols: Symbols, bits: int) -> bytes:
    return np.packbits(np.unpackbits(symbols[:, None], axis=1)[:, 8 - bits :]).tobytes()


def _unpack(payload: bytes, count: int, bits: int, subject: str) -> Symbols:
    _check_length(payload, -(-count * bits // 8), subject)
    packed = np.frombuffer(payload, dtype=np.uint8)
    padding_bits = 8 * packed.size - count * bits
    if packed[-1] & ((1 << padding_bits) - 1):
        raise CorruptPayload(subject, f"{padding_bits} padding bits of 0", f"a last byte of {packed[-1]:#04x}")
    symbols = np.empty(count, dtype=np.uint8)
    for start in range(0, count, _BLOCK):
        block = symbols[start : start + _BLOCK]
        unpacked = np.unpackbits(packed[start * bits // 8 :], count=block.size * bits).reshape(-1, bits)
        block[:] = np.packbits(unpacked, axis=1)[:, 0] >> (8 - bits)
    return symbols


def _compress(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data)  # one frame that tells its content size


def _decompress(payload: bytes, size: int, subject: str) -> bytes:
    try:
        content_size = zstandard.get_frame_parameters(payload).content_size
        if content_size != size:
            hint = "The header of the zstd frame must give the content size."
            raise CorruptPayload(subject, f"{size} bytes of content", content_size, hint)
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptPayload(subject, "one whole zstd frame", str(error)) from error


def _decode_ans(payload: bytes, count: int, bits: int, subject: str) -> Symbols:
    reader = Reader(payload, subject)
    counts = [reader.varint(f"count of symbol {symbol}") + 1 for symbol in range(1 << bits)]
    total = 1 << ans.SHORT_TABLE_BITS
    if sum(counts) != total:
        raise CorruptPayload(f"{subject}, histogram", f"a sum of {total}", sum(counts))
    table = ans.AnsTable(counts)
    decoder = ans.AnsDecoder(reader.take(reader.remaining, "ANS stream"), subject)
    symbols = np.empty(count, dtype=np.uint8)
    for start in range(0, count, _BLOCK):
        block = symbols[start : start + _BLOCK]
        block[:] = decoder.decode(block.size, table)
    decoder.finish()
    return symbols
