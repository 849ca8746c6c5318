from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol import ans
from keyfpn.protocol.chunk import Chunk, Float, Latent, encode_level
from keyfpn.protocol.errors import CorruptPayload, InvalidField, LimitExceeded
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.latent import LatentCoder, LatentModel
from keyfpn.protocol.limits import Limits
from tests.protocol import integer_decoder
from tests.protocol.golden import learned
from tests.protocol.latent_models import Case, cases, plain

CODER, LATENTS, GEOMETRY = learned.CODER, learned.LATENTS, learned.GEOMETRY
CHUNKS = CODER.encode(LATENTS, 3)
MODELS = [learned.model(index) for index in range(3)]


@given(cases())
def test_round_trip(case: Case) -> None:
    chunks = case.coder.encode(case.latents, case.quality)
    assert [chunk.level for chunk in chunks] == [f"y{index}" for index in range(len(case.models))]
    assert {(chunk.coder, chunk.quantization) for chunk in chunks} == {("ans", Latent())}
    decoded = case.coder.decode(chunks, case.geometry, case.quality)
    for latent, expected in zip(decoded, case.latents, strict=True):
        assert latent.dtype == np.int32
        assert np.array_equal(latent, expected)


@given(cases())
def test_the_rate_is_the_information(case: Case) -> None:
    chunks = case.coder.encode(case.latents, case.quality)
    for chunk, bits in zip(chunks, case.coder.information(case.latents, case.quality), strict=True):
        assert bits / 8 - 1 < len(chunk.payload) <= 1.01 * bits / 8 + 16


def test_information_is_by_the_tables_that_the_symbols_get() -> None:
    bits = CODER.information(LATENTS, 3)
    for model, coded, of_latent in zip(MODELS, CODER.coded(LATENTS, 3), bits, strict=True):
        chances = [
            int(model.tables[table, residual + model.max_symbol]) / 2**24
            for table, residual in zip(coded.tables.reshape(-1), coded.residuals.reshape(-1), strict=True)
        ]
        assert of_latent == pytest.approx(-np.log2(chances).sum(), rel=1e-12)


@given(cases(max_cells=4))
def test_an_independent_decoder_agrees(case: Case) -> None:
    chunks = case.coder.encode(case.latents, case.quality)
    payloads, models = [chunk.payload for chunk in chunks], list(map(plain, case.models))
    decoded = integer_decoder.decode_latents(payloads, models, case.geometry.padded_size, case.quality)
    for latent, expected in zip(decoded, case.latents, strict=True):
        assert list(latent.values()) == expected.reshape(-1).tolist()


def test_shapes_follow_from_the_padded_size() -> None:
    padded = Geometry(network_size=(384, 545), channels=128, size_divisibility=32)
    assert CODER.shapes(padded) == ((3, 12, 18), (4, 24, 36), (2, 96, 144))
    assert CODER.shapes(GEOMETRY) == ((3, 3, 2), (4, 5, 3), (2, 18, 11)) == tuple(latent.shape for latent in LATENTS)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_any_integers_are_coded(dtype: type[np.generic]) -> None:
    tables = np.ones((4, 255), np.uint32)
    tables[:, 127] += 2**24 - 255
    coder = LatentCoder([replace(MODELS[0], tables=tables)])
    latent = np.array([-127, 127, 100]).reshape(3, 1, 1)
    assert coder.encode([latent.astype(dtype)], 1) == coder.encode([latent], 1)
    assert coder.information([latent.astype(dtype)], 1) == (72,)


def test_quality_chooses_the_tables() -> None:
    assert CODER.qualities == 4
    assert len({tuple(chunk.payload for chunk in CODER.encode(LATENTS, quality)) for quality in range(1, 5)}) == 4


def check_received(chunks: list[Chunk]) -> bool:
    """Whether damaged chunks are refused. What is accepted is what an encoder writes for other symbols."""
    try:
        decoded = CODER.decode(chunks, GEOMETRY, 3)
    except CorruptPayload:
        return True
    assert [latent.shape for latent in decoded] == list(CODER.shapes(GEOMETRY))
    assert list(CODER.encode(decoded, 3)) == chunks
    return False


def damaged(at: int, payload: bytes) -> list[Chunk]:
    return [replace(chunk, payload=payload) if index == at else chunk for index, chunk in enumerate(CHUNKS)]


@pytest.mark.parametrize("at", range(3))
def test_payloads_cut_short_or_longer(at: int) -> None:
    payload = CHUNKS[at].payload
    others = [payload[:length] for length in range(len(payload))]
    others += [payload + payload[:length] for length in range(1, len(payload))] + [b"\1\0\0\0" + payload]
    refused = sum(check_received(damaged(at, other)) for other in others)
    assert refused == len(others)


@pytest.mark.parametrize("at", range(3))
def test_every_bit_of_a_payload_flipped(at: int) -> None:
    payload = CHUNKS[at].payload
    refused = 0
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        refused += check_received(damaged(at, bytes(flipped)))
    assert refused > 7 * len(payload)


@given(st.integers(0, 2), st.binary(max_size=60))
def test_any_payload(at: int, payload: bytes) -> None:
    check_received(damaged(at, payload))


@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        ((), "none"),
        (CHUNKS[:2], "y0, y1$"),
        (CHUNKS[1:], "y1, y2"),
        (CHUNKS[::-1], "y2, y1, y0"),
        ((*CHUNKS, replace(CHUNKS[0], level="y3")), "y0, y1, y2, y3"),
        ((encode_level("p3", np.zeros((1, 2, 3), np.float32), Float(), "store"), *CHUNKS[1:]), "p3, y1, y2"),
    ],
)
def test_other_chunks(chunks: tuple[Chunk, ...], found: str) -> None:
    with pytest.raises(InvalidField, match=f"chunks of the learned codec: expected y0, y1, y2, found {found}"):
        CODER.decode(chunks, GEOMETRY, 3)


@pytest.mark.parametrize("quality", [0, 5, 255])
def test_another_quality(quality: int) -> None:
    with pytest.raises(InvalidField, match=f"quality of the learned codec: expected 1 to 4, found {quality}"):
        CODER.decode(CHUNKS, GEOMETRY, quality)
    for attempt in (CODER.encode, CODER.coded, CODER.information):
        with pytest.raises(ValueError, match=f"quality: expected 1 to 4, found {quality}"):
            attempt(LATENTS, quality)


def test_a_shape_beyond_the_limits() -> None:
    assert len(CODER.decode(CHUNKS, GEOMETRY, 3, Limits(max_elements=396))) == 3
    with pytest.raises(LimitExceeded, match=r"elements of y2: expected at most 395, found 396, shape \(2, 18, 11\)"):
        CODER.decode(CHUNKS, GEOMETRY, 3, Limits(max_elements=395))


def with_symbol(index: int, symbol: int) -> list[np.ndarray]:
    latents = [latent.copy() for latent in LATENTS]
    latents[index][0, 0, 0] = symbol
    return latents


@pytest.mark.parametrize(
    ("latents", "fault"),
    [
        (LATENTS[:2], "latents of a frame: expected 3, found 2"),
        (
            (*LATENTS[:2], LATENTS[2][:1]),
            r"y2: expected integers of shape \(2, height, width\), found int32 .*1, 18, 11",
        ),
        ((*LATENTS[:2], LATENTS[2][0]), r"y2: .* found int32 of shape \(18, 11\)"),
        ((*LATENTS[:2], LATENTS[2][:, :0]), r"y2: .* found int32 of shape \(2, 0, 11\)"),
        ((LATENTS[0].astype(np.float32), *LATENTS[1:]), "y0: .* found float32"),
        (
            (*LATENTS[:2], LATENTS[2][:, :16]),
            r"the latent before y2: expected \(4, 3\), found \(5, 3\) beside \(16, 11\)",
        ),
        ((LATENTS[0][:, :, :1], *LATENTS[1:]), r"the latent before y1: expected \(3, 2\), found \(3, 1\)"),
        (with_symbol(0, 301), "y0: expected symbols from -300 to 300, found -[0-9]+ to 301"),
        (with_symbol(1, -4), "y1: expected symbols from -3 to 3, found -4 to 3"),
        (with_symbol(2, -(2**31)), "y2: expected symbols from -1 to 1, found -2147483648 to 1"),
    ],
)
def test_latents_of_another_model(latents: list[np.ndarray], fault: str) -> None:
    for attempt in (CODER.encode, CODER.coded, CODER.information):
        with pytest.raises(ValueError, match=fault):
            attempt(latents, 3)


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        ([], "latents of a codec: expected 1 to 16, found 0"),
        ([MODELS[0]] * 17, "latents of a codec: expected 1 to 16, found 17"),
        (MODELS[1:], "coarse weights of y0: expected none"),
        ([MODELS[0], replace(MODELS[1], coarse=None)], "coarse weights of y1: expected an array, found none"),
        (
            [MODELS[0], MODELS[2]],
            r"coarse weights of y1: expected int8 of shape \(2, 3\), found int8 of shape \(2, 4\)",
        ),
        ([MODELS[0], replace(MODELS[1], stride=32)], "stride of y1: expected a divisor of 32 below it, found 32"),
        ([MODELS[0], replace(MODELS[1], stride=64)], "stride of y1: expected a divisor of 32 below it, found 64"),
        ([MODELS[0], replace(MODELS[1], stride=12)], "stride of y1: expected a divisor of 32 below it, found 12"),
        (
            [MODELS[0], replace(MODELS[1], bias=MODELS[1].bias[:3], prediction=MODELS[1].prediction[:3])],
            "qualities of y1: expected 4, as before it, found 3",
        ),
    ],
)
def test_models_that_do_not_go_together(models: list[LatentModel], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        LatentCoder(models)


TABLES = MODELS[0].tables


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"stride": 0}, "stride of a latent: expected at least 1, found 0"),
        ({"tables": TABLES[0]}, r"4 to 256 rows, a multiple of 4, of 2M \+ 1 counts, M >= 1, found shape \(601,\)"),
        ({"tables": TABLES[:0]}, r"found shape \(0, 601\)"),
        ({"tables": np.repeat(TABLES, 17, axis=0)}, r"found shape \(272, 601\)"),
        ({"tables": TABLES[:15]}, r"found shape \(15, 601\)"),
        ({"tables": TABLES[:, :40]}, r"found shape \(16, 40\)"),
        ({"tables": np.full((4, 1), 1 << 24, np.uint32)}, r"found shape \(4, 1\)"),
        ({"tables": TABLES.astype(np.int64)}, "tables of a latent: expected uint32 of shape .* found int64"),
        ({"tables": TABLES - np.eye(16, 601, 300, dtype=np.uint32)}, "table 0 of a latent: .* found sum 16777215"),
        ({"tables": TABLES + 20 * np.eye(16, 601, -2, dtype=np.uint32)}, "table 2 of a latent: .* found sum 16777236"),
        ({"tables": np.array([[1 << 15, (1 << 15) - 1, 1]] * 4, np.uint32)}, "table 0 of a latent: .* found sum 65536"),
        ({"tables": np.array([[1 << 24, 0, 0]] * 4, np.uint32)}, "counts of at least 1"),
        (
            {"bias": np.zeros((256, 2, 3), np.int32), "prediction": np.zeros((256, 3, 4), np.int8)},
            "qualities of a latent: expected at most 255, found 256",
        ),
        ({"groups": (2, 1)}, r"found \(2, 1\) and 1 kernels"),
        ({"prediction": MODELS[0].prediction[:3]}, r"prediction: expected int8 of shape \(4, 3, 4\), .*\(3, 3, 4\)"),
        ({"prediction": MODELS[0].prediction.astype(int)}, "prediction: expected int8 .* found int64"),
    ],
)
def test_no_latent_model(changed: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        replace(MODELS[0], **changed)


def test_a_model_is_immutable() -> None:
    tables = TABLES.copy()
    model = replace(MODELS[0], tables=tables)
    tables[0, 0] = 7
    assert np.array_equal(model.tables, TABLES)
    assert (model.channels, model.qualities, model.max_symbol) == (3, 4, 300)
    for array in (model.tables, model.bias, model.prediction, *model.kernels, MODELS[1].coarse):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_codec_may_have_sixteen_latents() -> None:
    models = [replace(MODELS[0], stride=1 << 15)]
    models += [replace(MODELS[0], stride=1 << 15 - n, coarse=np.ones((3, 3), np.int8)) for n in range(1, 16)]
    coder = LatentCoder(models)
    geometry = Geometry(network_size=(1, 1), channels=1, size_divisibility=0)
    latents = [np.full(shape, index, np.int32) for index, shape in enumerate(coder.shapes(geometry))]
    decoded = coder.decode(coder.encode(latents, 1), geometry, 1)
    assert [latent.reshape(-1).tolist() for latent in decoded] == [[index] * 3 for index in range(16)]


def model_of_one_channel(
    kernel: np.ndarray, tables: np.ndarray, bias: tuple[int, int], prediction: tuple[int, ...]
) -> LatentModel:
    return LatentModel(
        stride=1,
        groups=(1,),
        tables=tables,
        bias=np.array([[[bias[0]], [bias[1]]]], np.int32),
        kernels=(kernel,),
        coarse=None,
        prediction=np.array([[prediction]], np.int8),
    )


def test_the_stream_is_sorted_by_table() -> None:
    """One channel of 2 x 2 whose bias gives pass 0 scale 1, and pass 1 scale 0 or 1 by a neighbour to the left."""
    kernel = np.zeros((1, 1, 3, 3), np.int8)
    kernel[0, 0, 1, 0] = 127
    tables = np.array([[1 << 23, 1 << 22, 1 << 22], [1 << 22, 1 << 23, 1 << 22]] * 4, np.uint32)
    coder = LatentCoder([model_of_one_channel(kernel, tables, (128, 1), (0, 0, 0, 0))])
    latent = np.array([[[-1, 1], [0, 1]]], np.int32)
    assert coder.coded([latent], 1)[0].tables.tolist() == [[[1, 1], [0, 1]]]
    first, second = map(ans.AnsTable, tables[:2])
    groups = [([0, 2], second), ([1], first), ([2], second)]
    (chunk,) = coder.encode([latent], 1)
    assert chunk.payload == ans.encode([(np.array(symbols, np.int32), table) for symbols, table in groups])


@pytest.mark.parametrize(
    ("neighbours", "weights", "symbol", "phase", "residual"),
    [
        ((0, 0, 0, 0), (100, 100, 100, 100), -2, 0, -2),
        ((1, 0, 0, 0), (15, 0, 0, 0), 1, 0, 1),  # 15/128
        ((1, 0, 0, 0), (16, 0, 0, 0), 1, 1, 1),  # 1/8
        ((1, 0, 0, 0), (63, 0, 0, 0), 1, 3, 1),  # just below 1/2
        ((1, 0, 0, 0), (64, 0, 0, 0), 1, 3, 0),  # 1/2 is 1 less 1/2: mirrored, and 1 is what is expected
        ((0, 1, 0, 0), (0, 64, 0, 0), 2, 3, -1),
        ((0, 0, 1, 0), (0, 0, -64, 0), -1, 3, 1),  # -1/2 is 0 less 1/2
        ((0, 0, 0, 3), (0, 0, 0, 64), 3, 3, -1),  # 1.5 is 2 less 1/2
        ((2, 2, 2, 2), (32, 32, 32, 32), 0, 0, -2),
        ((4, 4, 4, 4), (127, 127, 127, 127), 4, 1, 0),  # far beyond the largest symbol, 4, which is expected then
        ((4, 4, 4, 4), (127, 127, 127, 127), -4, 1, -1),  # 8 less than expected is 1 more, of 9 symbols; mirrored
        ((-4, -4, -4, -4), (64, 64, 64, 64), 1, 0, -4),  # 5 more than expected, -4
    ],
)
def test_the_four_neighbours_predict_a_symbol(
    neighbours: tuple[int, ...], weights: tuple[int, ...], symbol: int, phase: int, residual: int
) -> None:
    """In 4 x 3, at (2, 1): above, to the left, to the right, below."""
    tables = np.ones((4, 9), np.uint32)
    tables[:, 4] += 2**24 - 9
    coder = LatentCoder([model_of_one_channel(np.zeros((1, 1, 3, 3), np.int8), tables, (0, 0), weights)])
    latent = np.zeros((1, 4, 3), np.int32)
    latent[0, [1, 2, 2, 3], [1, 0, 2, 1]], latent[0, 2, 1] = neighbours, symbol
    (coded,) = coder.coded([latent], 1)
    assert (coded.tables[0, 2, 1], coded.residuals[0, 2, 1]) == (phase, residual)
    geometry = Geometry(network_size=(4, 3), channels=1, size_divisibility=0)
    assert np.array_equal(coder.decode(coder.encode([latent], 1), geometry, 1)[0], latent)
