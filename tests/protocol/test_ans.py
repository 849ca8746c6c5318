import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.errors import CorruptPayload

TOTAL = 1 << 24


def random_table(random: np.random.Generator, size: int, total: int) -> NDArray[np.int64]:
    """Counts of at least 1, from flat to very skewed."""
    cuts = np.floor(random.random(size - 1) ** random.choice([1, 3, 12]) * (total - size + 1)).astype(np.int64)
    return np.diff(np.concatenate([[0], np.sort(cuts), [total - size]])) + 1


def assert_exact(counts: NDArray[np.int64]) -> None:
    """Checks the first and last slot of every symbol.

    A stream of one word w < 2**24 makes the decoder's first slot w itself; slot 0, which would be a zero word, is
    reached with a word of 2**24.
    """
    table = ans.AnsTable(counts)
    ends = np.cumsum(table.counts.astype(np.int64))
    firsts = np.concatenate([[0], ends[:-1]])
    for symbol, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        for slot in {int(first), int(end) - 1}:
            assert ans.AnsDecoder(struct.pack("<I", slot or TOTAL)).decode(1, table)[0] == symbol


@pytest.mark.parametrize("size", [2, 3, 4, 16, 100, 256, 1000])
@pytest.mark.parametrize("total", [1 << 16, TOTAL])
def test_constriction_keeps_random_tables_exact(size: int, total: int) -> None:
    random = np.random.default_rng(size)
    for _ in range(max(2, 400 // size)):
        assert_exact(random_table(random, size, total))


@pytest.mark.parametrize("size", [2, 3, 16, 256, 4096, 65536])
@pytest.mark.parametrize("total", [1 << 16, TOTAL])
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_constriction_keeps_extreme_tables_exact(size: int, total: int, where: float) -> None:
    counts = np.ones(size, dtype=np.int64)
    counts[round(where * (size - 1))] += total - size
    assert_exact(counts)


def test_a_short_table_is_scaled() -> None:
    table = ans.AnsTable([1, 65535])
    assert table.counts.tolist() == [256, TOTAL - 256]
    assert table.model is table.model


def test_a_table_is_immutable() -> None:
    counts = np.array([1, 65535], dtype=np.uint32)
    table = ans.AnsTable(counts)
    counts[0] = 7
    assert table.counts[0] == 256
    with pytest.raises(ValueError, match="read-only"):
        table.counts[0] = 7


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        ([1 << 16], "a row of 2 to 65536 integers"),
        ([], "a row of 2 to 65536 integers"),
        ([[1, 65535]], "a row of 2 to 65536 integers"),
        ([0.5, 0.5], "not float64"),
        (np.ones(65537, dtype=int), "a row of 2 to 65536 integers"),
        ([0, 65536], "counts from 0"),
        ([-1, 65537], "counts from -1"),
        ([1, 65536], "sum 65537"),
        (np.array([2**63, 2**63, 65534, 1, 1], dtype=np.uint64), "counts of at least 1"),
    ],
)
def test_no_table(counts: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ans.AnsTable(counts)


histograms = hnp.arrays(
    np.int64, st.integers(2, 300), elements=st.one_of(st.integers(0, 3), st.integers(0, 1000), st.integers(0, 2**30))
)


@given(histograms, st.sampled_from([300, 1 << 16, TOTAL]))
def test_normalized_counts(histogram: NDArray[np.int64], total: int) -> None:
    counts = ans.normalize_counts(histogram, total)
    assert counts.dtype == np.uint32
    assert counts.sum() == total
    assert counts.min() >= 1
    # More occurrences never mean a smaller count.
    order = np.argsort(histogram, kind="stable")
    for rarer, commoner in pairwise(order):
        assert counts[rarer] <= counts[commoner] or histogram[rarer] == histogram[commoner]


def test_normalized_counts_of_a_table_are_the_table() -> None:
    table = random_table(np.random.default_rng(0), 40, 1 << 16)
    assert ans.normalize_counts(table).tolist() == table.tolist()
    assert ans.normalize_counts(3 * table).tolist() == table.tolist()


def test_rare_symbols_are_taken_from_the_others_in_proportion() -> None:
    assert ans.normalize_counts([0, 1, 3000, 1000, 0], 16).tolist() == [1, 1, 10, 3, 1]
    assert ans.normalize_counts([0, 0, 0], 16).tolist() == [6, 5, 5]


@pytest.mark.parametrize("histogram", [[5], [], [[1, 2]], [-1, 5], [1] * 17, [2**60, 1]])
def test_no_histogram(histogram: list[int]) -> None:
    with pytest.raises(ValueError, match="a histogram is a row of 2 to 16 counts"):
        ans.normalize_counts(histogram, 16)


@st.composite
def coded_groups(draw: st.DrawFn) -> list[tuple[NDArray[np.int32], ans.AnsTable]]:
    groups = []
    for _ in range(draw(st.integers(0, 5))):
        counts = ans.normalize_counts(draw(histograms), draw(st.sampled_from([1 << 16, TOTAL])))
        symbols = draw(hnp.arrays(np.int32, st.integers(0, 60), elements=st.integers(0, len(counts) - 1)))
        groups.append((symbols, ans.AnsTable(counts)))
    return groups


@given(coded_groups())
def test_groups_decode_in_order(groups: list[tuple[NDArray[np.int32], ans.AnsTable]]) -> None:
    decoder = ans.AnsDecoder(ans.encode(groups))
    for symbols, table in groups:
        decoded = decoder.decode(len(symbols), table)
        assert decoded.dtype == np.int32
        assert decoded.tolist() == symbols.tolist()
    decoder.finish()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=5), st.integers(0, 30), histograms)
@settings(max_examples=300)
def test_a_stream_that_ends_empty_is_the_one_that_an_encoder_writes(
    words: list[int], count: int, histogram: NDArray[np.int64]
) -> None:
    data = struct.pack(f"<{len(words)}I", *words)
    table = ans.AnsTable(ans.normalize_counts(histogram))
    try:
        decoder = ans.AnsDecoder(data)
        symbols = decoder.decode(count, table)
        decoder.finish()
    except CorruptPayload:
        return
    assert ans.encode([(symbols, table)]) == data


def test_the_rate_is_the_entropy() -> None:
    random = np.random.default_rng(0)
    table = ans.AnsTable(random_table(random, 16, 1 << 16))
    probabilities = table.counts / TOTAL
    symbols = random.choice(16, 50_000, p=probabilities).astype(np.int32)
    ideal_bytes = -np.log2(probabilities)[symbols].sum() / 8
    assert ideal_bytes <= len(ans.encode([(symbols, table)])) <= 1.0005 * ideal_bytes + 12


@given(coded_groups().filter(len), st.integers(-10, 10).filter(bool), st.integers(0, 2**32 - 1))
def test_any_other_number_of_symbols_is_an_error(
    groups: list[tuple[NDArray[np.int32], ans.AnsTable]], more: int, seed: int
) -> None:
    decoder = ans.AnsDecoder(ans.encode(groups), "payload of y0")
    at = seed % len(groups)
    for index, (symbols, table) in enumerate(groups):
        decoder.decode(max(0, len(symbols) + more * (index == at)), table)
    if len(groups[at][0]) + more < 0:
        return
    with pytest.raises(
        CorruptPayload, match=r"payload of y0: expected an empty coder \(0xffffff\) after the last symbol"
    ):
        decoder.finish()


def test_the_end_is_where_the_encoder_began() -> None:
    table = ans.AnsTable([65535, 1])
    assert ans.encode([]).hex() == ans.encode([(np.zeros(0, dtype=np.int32), table)]).hex() == "ffffff00"
    ans.AnsDecoder(bytes.fromhex("ffffff00")).finish()
    with pytest.raises(CorruptPayload, match="found 0 words and the state 0x0"):
        ans.AnsDecoder(b"").finish()


@pytest.mark.parametrize("length", [1, 2, 3, 5, 1001])
def test_a_stream_is_whole_words(length: int) -> None:
    with pytest.raises(CorruptPayload, match=f"a multiple of 4 bytes, found {length} bytes"):
        ans.AnsDecoder(b"\x01" * length)


def test_the_last_word_is_not_zero() -> None:
    with pytest.raises(CorruptPayload, match="a last word other than 0, found 0"):
        ans.AnsDecoder(struct.pack("<2I", 5, 0))


@pytest.mark.parametrize("symbol", [-1, 2, 2**31 - 1])
def test_a_symbol_without_a_count(symbol: int) -> None:
    with pytest.raises(ValueError, match="for a table of the symbols 0 to 1"):
        ans.encode([(np.array([0, symbol], dtype=np.int32), ans.AnsTable([1, 65535]))])
