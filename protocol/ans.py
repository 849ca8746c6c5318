"""Asymmetric numeral systems (ANS) with integer tables.

The coder is constriction's `AnsCoder`: 32-bit words, a 64-bit state, 24-bit probabilities. `docs/wire-format.md` gives
it as an algorithm in integers. No float decides anything here, so machines with different float hardware decode the
same symbols; a float32 appears only where constriction's Python API asks for probabilities, in a form that it keeps
exact (see `AnsTable`).

Sources: J. Duda, Asymmetric numeral systems, arXiv 1311.2540; R. Bamler, Understanding entropy coding with asymmetric
numeral systems, arXiv 2201.01741 (constriction).
"""

from collections.abc import Sequence
from functools import cached_property

import constriction
import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfpn.protocol.errors import CorruptPayload

PRECISION_BITS = 24
SHORT_TABLE_BITS = 16
MAX_ALPHABET = 1 << SHORT_TABLE_BITS
_WORD = np.dtype("<u4")
# The state of an empty coder. Decoding from constriction's own start, 0, gives symbol 0 and state 0 again, so that a
# stream would pass for one of more symbols. From this one, in the last slot of any table, the state only falls.
_START = (1 << PRECISION_BITS) - 1


class AnsTable:
    """An immutable probability table: symbol `s` has probability `counts[s] / 2**24`.

    constriction quantizes float probabilities itself: each of the n symbols gets 1, the other 2**24 - n are shared out
    in proportion to the floats. Given ``counts - 1``, whose sum is 2**24 - n, the scale is exactly 1; every number on
    the way is an integer below 2**24, which a float32 holds exactly, so it keeps the table as it is.

    Args:
        counts: (n,) integers of at least 1, 2 <= n <= 2**16, whose sum is 2**24, or 2**16 (then scaled by 2**8).

    Attributes:
        counts: (n,) uint32, read-only, with sum 2**24.

    Raises:
        ValueError: counts that are no such table.
    """

    def __init__(self, counts: ArrayLike) -> None:
        table = np.asarray(counts)
        if table.ndim != 1 or table.dtype.kind not in "iu" or not 2 <= table.size <= MAX_ALPHABET:
            raise ValueError(
                f"an ANS table is a row of 2 to {MAX_ALPHABET} integers, not {table.dtype} of shape {table.shape}"
            )
        total = int(table.sum(dtype=np.int64))
        if (
            table.min() < 1
            or table.max() > 1 << PRECISION_BITS
            or total not in (1 << SHORT_TABLE_BITS, 1 << PRECISION_BITS)
        ):
            raise ValueError(
                f"an ANS table holds counts of at least 1 with sum 2**{SHORT_TABLE_BITS} or 2**{PRECISION_BITS}, "
                f"not counts from {table.min()} with sum {total}"
            )
        self.counts: NDArray[np.uint32] = (table.astype(np.uint32) * np.uint32((1 << PRECISION_BITS) // total)).copy()
        self.counts.flags.writeable = False

    @cached_property
    def model(self) -> constriction.stream.model.Categorical:
        """The table in constriction's form, built when first asked for."""
        return constriction.stream.model.Categorical((self.counts - 1).astype(np.float32), perfect=False)


def normalize_counts(histogram: ArrayLike, total: int = 1 << SHORT_TABLE_BITS) -> NDArray[np.uint32]:
    """Scales a histogram to counts of at least 1 that sum to `total`, in integers, the same on every machine.

    Symbols whose share would fall below 1 get 1; the others share the rest in proportion, rounded down, and what
    rounding left goes out one by one to the largest remainders, lower symbols first among equals. A histogram of zeros
    counts as uniform.

    Args:
        histogram: (n,) integers of at least 0, 2 <= n <= `total`; n times the largest, times `total`, below 2**63.
        total: what the counts sum to.

    Returns:
        (n,) uint32.

    Raises:
        ValueError: no such histogram.
    """
    seen = np.asarray(histogram).astype(np.int64)
    if seen.ndim != 1 or not 2 <= seen.size <= total or seen.min() < 0 or int(seen.max()) * seen.size >= 2**63 // total:
        raise ValueError(f"a histogram is a row of 2 to {total} counts of at least 0, in sum below 2**63 / {total}")
    if not seen.any():
        seen = np.ones_like(seen)
    rare = np.zeros(seen.shape, dtype=bool)
    while True:
        rest_total, rest_seen = total - int(rare.sum()), int(seen[~rare].sum())
        now_rare = rare | (seen * rest_total < rest_seen)
        if np.array_equal(now_rare, rare):
            break
        rare = now_rare
    share, remainder = np.divmod(seen * rest_total, rest_seen)
    share[rare], remainder[rare] = 1, -1
    left_over = total - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:left_over]] += 1
    return share.astype(np.uint32)


def encode(groups: Sequence[tuple[NDArray[np.int32], AnsTable]]) -> bytes:
    """Encodes groups of symbols, each group with its own table, so that they decode in the order given.

    Args:
        groups: pairs of (n,) symbols, integers from 0 to below the table's length, and the table; n may be 0.

    Returns:
        The stream: 32-bit words, little-endian.

    Raises:
        ValueError: a symbol that its table does not hold.
    """
    _check_symbols(groups)
    coder = constriction.stream.stack.AnsCoder(np.array([_START], dtype=np.uint32))
    for symbols, table in reversed(groups):
        coder.encode_reverse(np.ascontiguousarray(symbols, dtype=np.int32), table.model)
    words: NDArray[np.uint32] = coder.get_compressed()
    return words.astype(_WORD).tobytes()


def _check_symbols(groups: Sequence[tuple[NDArray[np.int32], AnsTable]]) -> None:
    sizes = [table.counts.size for _, table in groups]
    symbols = np.concatenate([np.empty(0, np.int32), *(symbols for symbols, _ in groups)])
    # All at once, because there are hundreds of groups in a frame, most of them short; a smaller table is looked at
    # alone only when some symbol is too large for it. As unsigned numbers, negative ones are the largest.
    if not symbols.size or symbols.astype(np.int32, copy=False).view(np.uint32).max() < min(sizes):
        return
    for of_group, size in zip((symbols for symbols, _ in groups), sizes, strict=True):
        if of_group.size and (of_group.min() < 0 or of_group.max() >= size):
            found = f"{of_group.min()} to {of_group.max()}"
            raise ValueError(f"symbols from {found}, for a table of the symbols 0 to {size - 1}")


class AnsDecoder:
    """Decodes a stream group after group, so that a later table may depend on symbols decoded earlier.

    Args:
        data: the stream.
        subject: what it is, for the error messages.

    Raises:
        CorruptPayload: not a whole number of words, or a last word of zero, which no encoder writes.
    """

    def __init__(self, data: bytes, subject: str = "ANS stream") -> None:
        self._subject = subject
        if len(data) % _WORD.itemsize:
            raise CorruptPayload(subject, f"a multiple of {_WORD.itemsize} bytes", f"{len(data)} bytes")
        words = np.frombuffer(data, dtype=_WORD).astype(np.uint32)
        if words.size and words[-1] == 0:
            raise CorruptPayload(subject, "a last word other than 0", 0)
        self._coder = constriction.stream.stack.AnsCoder(words)

    def decode(self, count: int, table: AnsTable) -> NDArray[np.int32]:
        """The next `count` symbols, (count,) int32. Whatever the bytes are they decode to something: see `finish`."""
        symbols: NDArray[np.int32] = self._coder.decode(table.model, count)
        return symbols

    def finish(self) -> None:
        """Call after the last symbol: only the stream that an encoder wrote for these counts and tables ends empty.

        Raises:
            CorruptPayload: it does not; the stream holds more symbols, or fewer, or others.
        """
        words, state = self._coder.pos()
        if (words, state) != (0, _START):
            found = f"{words} words and the state {state:#x}"
            raise CorruptPayload(self._subject, f"an empty coder ({_START:#x}) after the last symbol", found)
