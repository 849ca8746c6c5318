from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from keyfpn.protocol.chunk import (
    LEVEL_IDS,
    Chunk,
    Float,
    Latent,
    Quantization,
    Uniform,
    check_coding,
    decode_level,
    encode_level,
)
from keyfpn.protocol.errors import ConfigurationError, CorruptPayload, InvalidField, LimitExceeded, Truncated
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.quantization import Ranges, dequantize, fit_ranges, quantize
from keyfpn.protocol.wire import Reader, write_varint

CODERS = ("store", "zstd", "ans")
VALUES = np.linspace(-3, 5, 2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
RANGES = fit_ranges(VALUES, 4)


def read(data: bytes) -> Chunk:
    reader = Reader(data, "packet")
    chunk = Chunk.read(reader)
    assert reader.remaining == 0
    return chunk


@st.composite
def feature_maps(draw: st.DrawFn) -> NDArray[np.float32]:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(1, 8)))
    return draw(hnp.arrays(np.float32, shape, elements=st.floats(-1000, 1000, width=16)))


@given(feature_maps(), st.sampled_from(CODERS), st.integers(2, 8), st.booleans(), st.sampled_from(["mse", "minmax"]))
def test_uniform_levels_come_back_quantized(
    values: NDArray[np.float32], coder: str, bits: int, sent: bool, method: str
) -> None:
    ranges = fit_ranges(values, bits, method)
    model_ranges = None if sent else ranges
    chunk = encode_level("p4", values, Uniform(bits, ranges if sent else None), coder, model_ranges)
    wire = chunk.header + chunk.payload
    assert chunk.wire_bytes == len(wire)
    assert read(wire) == chunk
    decoded = decode_level(read(wire), values.shape, model_ranges=model_ranges)
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded, dequantize(quantize(values, ranges), ranges))


@given(feature_maps(), st.sampled_from(["store", "zstd"]), st.sampled_from([16, 32]))
def test_float_levels_come_back_exactly(values: NDArray[np.float32], coder: str, bits: int) -> None:
    chunk = encode_level("p6", values, Float(bits), coder)
    assert read(chunk.header + chunk.payload) == chunk
    assert decode_level(chunk, values.shape).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("chunk", "header"),
    [
        (Chunk("p2", "store", Float(32), b"1234"), "02 00 04"),
        (Chunk("p3", "zstd", Float(16), bytes(200)), "03 11 c801"),
        (Chunk("p7", "ans", Uniform(5), b""), "07 22 05 00"),
        (Chunk("p4", "store", Uniform(2, Ranges([1, -2], [0.5, 3], 2)), b"ab"), "04 03 02 02 803f 003f 00c0 4040 02"),
        (Chunk("y0", "ans", Latent(), bytes(2**21 - 1)), "10 24 ffff7f"),
        (Chunk("y15", "ans", Latent(), bytes(4)), "1f 24 04"),
    ],
)
def test_header_bytes(chunk: Chunk, header: str) -> None:
    assert chunk.header.hex() == header.replace(" ", "")
    assert read(chunk.header + chunk.payload) == chunk


def test_every_level_has_its_own_id() -> None:
    assert LEVEL_IDS["p2"] == 2
    assert LEVEL_IDS["y15"] == 31
    assert len(set(LEVEL_IDS.values())) == len(LEVEL_IDS) == 22


GOOD_CODINGS = {(Float, "store"), (Float, "zstd"), (Latent, "ans"), *((Uniform, coder) for coder in CODERS)}


@pytest.mark.parametrize(("quantization", "coder"), list(product([Float(32), Float(16), Uniform(4), Latent()], CODERS)))
def test_which_coder_goes_with_what(quantization: Quantization, coder: str) -> None:
    level = "y0" if isinstance(quantization, Latent) else "p3"
    if (type(quantization), coder) in GOOD_CODINGS:
        check_coding(quantization, coder)
        Chunk(level, coder, quantization, b"")
        return
    for attempt in (lambda: check_coding(quantization, coder), lambda: Chunk(level, coder, quantization, b"")):
        with pytest.raises(ConfigurationError, match=r"ans codes integers only|with the tables of its model"):
            attempt()


@pytest.mark.parametrize(
    ("attempt", "fault"),
    [
        (lambda: check_coding(Float(), "lzma"), "expected one of store, zstd, ans, found 'lzma'"),
        (lambda: Float(8), "expected 32 or 16, found 8"),
        (lambda: Uniform(9), "expected 2 to 8, found 9"),
        (lambda: Uniform(5, RANGES), "expected ranges for 5 bits, found 4 bits"),
        (lambda: Chunk("p1", "store", Float(), b""), "found 'p1'"),
        (lambda: Chunk("p3", "ans", Latent(), b""), "p3: expected float or uniform, found Latent"),
        (lambda: Chunk("y3", "store", Float(), b""), "y3: expected a latent, found Float"),
        (
            lambda: encode_level("p3", VALUES, Uniform(4), "ans"),
            "expected ranges for 4 bits, found no ranges",
        ),
        (
            lambda: encode_level("p3", VALUES, Uniform(5), "ans", RANGES),
            "expected ranges for 5 bits, found ranges for 4 bits",
        ),
        (lambda: encode_level("y0", VALUES, Latent(), "ans"), "expected float or uniform, found a latent"),
    ],
)
def test_settings_that_cannot_work(attempt: object, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        attempt()


def test_ranges_of_the_chunk_come_before_those_of_the_model() -> None:
    other = Ranges([0, 0], [1, 1], 4)
    chunk = encode_level("p3", VALUES, Uniform(4, RANGES), "ans", other)
    expected = dequantize(quantize(VALUES, RANGES), RANGES)
    assert np.array_equal(decode_level(chunk, VALUES.shape, model_ranges=other), expected)


@pytest.mark.parametrize(
    ("model_ranges", "found"),
    [(None, "none"), (Ranges([0, 0], [1, 1], 5), "5 bits, 2 channels"), (Ranges([0], [1], 4), "4 bits, 1 channels")],
)
def test_receiver_without_the_ranges(model_ranges: Ranges | None, found: str) -> None:
    chunk = encode_level("p3", VALUES, Uniform(4), "ans", RANGES)
    with pytest.raises(InvalidField, match=f"ranges of p3: expected 4 bits, 2 channels, found {found}"):
        decode_level(chunk, VALUES.shape, model_ranges=model_ranges)


@pytest.mark.parametrize("coder", CODERS)
def test_another_shape(coder: str) -> None:
    chunk = encode_level("p3", VALUES, Uniform(4, RANGES), coder)
    for shape in ((2, 3, 4), (2, 4, 5), (2, 300, 500)):
        with pytest.raises(CorruptPayload, match="payload of p3"):
            decode_level(chunk, shape)
    with pytest.raises(InvalidField, match="ranges of p3"):
        decode_level(chunk, (3, 2, 5))


def test_shape_beyond_the_limits() -> None:
    chunk = encode_level("p3", VALUES, Float(), "store")
    assert decode_level(chunk, VALUES.shape, Limits(max_elements=30)).shape == VALUES.shape
    with pytest.raises(LimitExceeded, match=r"elements of p3: expected at most 29, found 30, shape \(2, 3, 5\)"):
        decode_level(chunk, VALUES.shape, Limits(max_elements=29))


def test_a_latent_is_the_learned_codecs_to_decode() -> None:
    with pytest.raises(InvalidField, match="quantization of y0: expected float or uniform, found a latent"):
        decode_level(Chunk("y0", "ans", Latent(), b""), (1, 1, 1))


@pytest.mark.parametrize(
    ("data", "kind", "fault"),
    [
        ("", Truncated, "level of a chunk: expected 1 bytes"),
        ("01 00 00", InvalidField, "level of a chunk: .* found 1"),
        ("20 24 00", InvalidField, "level of a chunk: .* found 32"),
        ("03", Truncated, "coding of p3"),
        ("03 30 00", InvalidField, "coder of p3: .* found 3"),
        ("03 05 00", InvalidField, "quantization of p3: expected a scheme from 0 to 4, found 5"),
        ("03 20 00", InvalidField, "coding of p3: .* ans codes integers only"),
        ("10 04 00", InvalidField, "coding of y0: .* with the tables of its model"),
        ("03 24 00", InvalidField, "coding of p3: .* p3: expected float or uniform, found Latent"),
        ("10 00 00", InvalidField, "coding of y0: .* expected a latent, found Float"),
        ("03 02", Truncated, "bits of p3"),
        ("03 02 01 00", InvalidField, "bits of p3: expected 2 to 8, found 1"),
        ("03 03 09 00", InvalidField, "bits of p3: expected 2 to 8, found 9"),
        ("03 03 04 00 00", InvalidField, "ranges"),
        ("03 03 04 ffffffff7f 0000 803f 00", Truncated, f"ranges of p3: expected {4 * (2**35 - 1)} bytes"),
        ("03 03 04 01 807f 803f 00", InvalidField, "ranges, low of channel 0: expected finite bfloat16, found inf"),
        ("03 03 04 01 0000 0000 00", InvalidField, "ranges, step of channel 0: expected finite bfloat16 above 0"),
        ("03 03 04 01 7f7f 7f7f 00", InvalidField, "ranges, top of channel 0"),
        ("03 00 8000", InvalidField, "payload length of p3"),
        ("03 00 05 00000000", Truncated, "payload of p3: expected 5 bytes at offset 3, found 4"),
    ],
)
def test_other_bytes(data: str, kind: type[Exception], fault: str) -> None:
    with pytest.raises(kind, match=fault):
        read(bytes.fromhex(data))


@given(st.binary(max_size=40))
def test_every_accepted_chunk_is_the_one_that_is_written(data: bytes) -> None:
    reader = Reader(data, "packet")
    try:
        chunk = Chunk.read(reader)
    except (InvalidField, Truncated):
        return
    assert chunk.header + chunk.payload == data[: reader.offset]
    assert write_varint(len(chunk.payload)) in chunk.header
