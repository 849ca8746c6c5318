import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from keyfpn.protocol import entropy
from keyfpn.protocol.errors import CorruptPayload, FeatureError, InvalidField, Truncated
from keyfpn.protocol.wire import write_varint

CODERS = ("store", "zstd", "ans")


@st.composite
def symbols_and_bits(draw: st.DrawFn) -> tuple[NDArray[np.uint8], int]:
    bits = draw(st.integers(2, 8))
    elements = st.one_of(st.just(0), st.integers(0, (1 << bits) - 1))
    return draw(hnp.arrays(np.uint8, st.integers(1, 200), elements=elements)), bits


@given(symbols_and_bits(), st.sampled_from(CODERS))
def test_symbols_round_trip(coded: tuple[NDArray[np.uint8], int], coder: str) -> None:
    symbols, bits = coded
    payload = entropy.encode_symbols(symbols, bits, coder)
    decoded = entropy.decode_symbols(payload, len(symbols), bits, coder, "test")
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == symbols.tolist()


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_levels_larger_than_a_block(coder: str, bits: int) -> None:
    symbols = (np.random.default_rng(0).integers(0, 1 << 16, (2 << 20) + 5) % 201 % (1 << bits)).astype(np.uint8)
    payload = entropy.encode_symbols(symbols, bits, coder)
    assert np.array_equal(entropy.decode_symbols(payload, len(symbols), bits, coder, "test"), symbols)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-60000, 60000, width=16)))
def test_floats_round_trip(values: NDArray[np.float32]) -> None:
    for bits in (16, 32):
        for coder in ("store", "zstd"):
            payload = entropy.encode_floats(values, bits, coder)
            decoded = entropy.decode_floats(payload, len(values), bits, coder, "test")
            assert decoded.dtype == np.float32
            assert decoded.tobytes() == values.tobytes()  # the sign of zero too


def test_packed_bits_are_most_significant_first() -> None:
    assert entropy.encode_symbols(np.uint8([1, 2, 3, 4, 7]), 3, "store").hex() == "29ce"
    assert entropy.encode_symbols(np.uint8([0xAB, 0x01]), 8, "store").hex() == "ab01"


def test_floats_are_little_endian() -> None:
    assert entropy.encode_floats(np.float32([1, -2]), 32, "store").hex() == "0000803f000000c0"
    assert entropy.encode_floats(np.float32([1, -2]), 16, "store").hex() == "003c00c0"


@pytest.mark.parametrize(("bits", "value"), [(32, np.inf), (32, np.nan), (16, 70000), (16, -np.inf)])
def test_only_finite_floats_are_sent(bits: int, value: float) -> None:
    with pytest.raises(FeatureError, match=f"finite as float{bits}"):
        entropy.encode_floats(np.float32([0, value]), bits, "store")


@pytest.mark.parametrize("coder", ["store", "zstd"])
@pytest.mark.parametrize(("bits", "special"), [(32, "0000807f"), (32, "0000c07f"), (16, "007c"), (16, "00fe")])
def test_only_finite_floats_are_accepted(coder: str, bits: int, special: str) -> None:
    payload = bytes(bits // 8) + bytes.fromhex(special)
    if coder == "zstd":
        payload = zstandard.compress(payload)
    with pytest.raises(CorruptPayload, match=r"payload of p3: expected finite values, found .* at element 1"):
        entropy.decode_floats(payload, 2, bits, coder, "payload of p3")


@pytest.mark.parametrize("length", [0, 2, 4, 1000])
def test_stored_symbols_have_one_length(length: int) -> None:
    with pytest.raises(CorruptPayload, match=f"expected 3 bytes, found {length}"):
        entropy.decode_symbols(bytes(length), 8, 3, "store", "test")


@pytest.mark.parametrize("length", [0, 7, 9])
def test_stored_floats_have_one_length(length: int) -> None:
    with pytest.raises(CorruptPayload, match=f"expected 8 bytes, found {length}"):
        entropy.decode_floats(bytes(length), 2, 32, "store", "test")


@pytest.mark.parametrize("padding", [0x01, 0x40, 0x7F])
def test_padding_is_zero(padding: int) -> None:
    with pytest.raises(CorruptPayload, match="7 padding bits of 0, found a last byte of"):
        entropy.decode_symbols(bytes([0, padding]), 3, 3, "store", "test")
    assert entropy.decode_symbols(bytes([0, 0x80]), 3, 3, "store", "test").tolist() == [0, 0, 1]


@pytest.mark.parametrize("bits", [2, 7])
def test_zstd_symbols_are_in_range(bits: int) -> None:
    payload = zstandard.compress(bytes([0, 1 << bits, 1]))
    with pytest.raises(CorruptPayload, match=f"symbols of {bits} bits, found the symbol {1 << bits}"):
        entropy.decode_symbols(payload, 3, bits, "zstd", "test")


def frame(content: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


# A frame that holds 100 bytes and says 99: its header is magic, descriptor and, in one byte, the content size.
_LYING = bytearray(frame(bytes(range(100))))
_LYING[5] = 99


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", "one whole zstd frame"),
        (b"not a zstd frame", "one whole zstd frame"),
        (frame(bytes(98)), "99 bytes of content, found 98"),
        (frame(bytes(1 << 26)), f"99 bytes of content, found {1 << 26}"),
        (frame(bytes(99), write_content_size=False), "must give the content size"),
        (frame(bytes(99)) + b"\0", "one whole zstd frame"),
        (frame(bytes(99)) + frame(bytes(99)), "one whole zstd frame"),
        (frame(bytes(range(99)))[:-1], "one whole zstd frame"),
        (bytes(_LYING), "one whole zstd frame"),
        # A skippable frame of 99 bytes: without content, though its header gives a size of 99.
        (bytes.fromhex("502a4d18 63000000") + bytes(99), "one whole zstd frame"),
    ],
)
def test_other_zstd_frames(payload: bytes, fault: str) -> None:
    with pytest.raises(CorruptPayload, match=fault):
        entropy.decode_symbols(payload, 99, 8, "zstd", "test")


def histogram(*counts: int) -> bytes:
    return b"".join(write_varint(count - 1) for count in counts)


def test_histogram_precedes_the_stream() -> None:
    payload = entropy.encode_symbols(np.uint8([0] * 3 + [2]), 2, "ans")
    assert payload.startswith(histogram(49151, 1, 16383, 1))
    assert (len(payload) - len(histogram(49151, 1, 16383, 1))) % 4 == 0


@pytest.mark.parametrize(
    ("payload", "kind", "fault"),
    [
        (b"", Truncated, "count of symbol 0"),
        (histogram(1, 2, 3), Truncated, "count of symbol 3"),
        (histogram(1, 1, 1, 65532), CorruptPayload, "histogram: expected a sum of 65536, found 65535"),
        (histogram(2**35, 2**35, 2**35, 2**35), CorruptPayload, f"found {2**37}"),
        (b"\x80\x00", InvalidField, "shortest form"),
        (histogram(1, 1, 1, 65533) + b"\0\0\0", CorruptPayload, "a multiple of 4 bytes, found 3 bytes"),
        (histogram(1, 1, 1, 65533) + b"\0\0\0\0", CorruptPayload, "a last word other than 0"),
        (histogram(1, 1, 1, 65533) + b"\1\0\0\0" * 9, CorruptPayload, "an empty coder .* after the last symbol, found"),
    ],
)
def test_other_ans_payloads(payload: bytes, kind: type[Exception], fault: str) -> None:
    with pytest.raises(kind, match=fault):
        entropy.decode_symbols(payload, 5, 2, "ans", "payload of p3")
