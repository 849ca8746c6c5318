"""The latents of a learned codec: integer arrays, from the coarsest to the finest, each one chunk.

    latents ──► passes of the context model ──► groups by table ──► one ANS stream per latent ──► chunks y0, y1, ...

The model is integers only, tables and context alike (`keyfpn.protocol.context`), so both ends decode the same symbols
whatever machine they are. `docs/wire-format.md` specifies it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.chunk import LATENT_LEVELS, Chunk, Latent
from keyfpn.protocol.context import MAX_TABLES, PHASES, Context, Int32, Pass, check_array
from keyfpn.protocol.errors import InvalidField, LimitExceeded
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits

_TABLE_TOTAL = 1 << ans.PRECISION_BITS
_MAX_QUALITIES = 255  # the packet's quality is a byte

T = TypeVar("T", bound=np.generic)
Latents = Sequence[NDArray[np.integer]]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentModel:
    """The entropy model of one latent of C channels: tables of K scales, and the context model that chooses among them.

    The arrays are copied and become read-only.

    Attributes:
        stride: pixels of the padded network input per position, along each side.
        groups: channels per channel group, in coding order; their sum is C.
        tables: (4 K, 2M + 1) uint32, 1 <= K <= 64, M >= 1: counts of the residuals -M to M, each at least 1; each row
            sums to 2**24. The K scales of the first phase are first.
        bias: (Q, 2, C) int32, 1 <= Q <= 255: quality 1 to Q, first and second pass, channel.
        kernels: per group g, int8 (c_g, c_0 + ... + c_g, 3, 3), see `keyfpn.protocol.context.Context`.
        coarse: int8 (C, C of the coarser latent); None for the coarsest latent.
        prediction: (Q, C, 4) int8, see `keyfpn.protocol.context.Context`.
        context: the context model of these arrays.
        ans_tables: the tables as the entropy coder takes them.

    Raises:
        ValueError: arrays that are no such model.
    """

    stride: int
    groups: tuple[int, ...]
    tables: NDArray[np.uint32]
    bias: NDArray[np.int32]
    kernels: tuple[NDArray[np.int8], ...]
    coarse: NDArray[np.int8] | None
    prediction: NDArray[np.int8]
    context: Context = field(init=False, repr=False)
    ans_tables: tuple[ans.AnsTable, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride of a latent: expected at least 1, found {self.stride}")
        for name in ("tables", "bias", "prediction"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        object.__setattr__(self, "groups", tuple(self.groups))
        object.__setattr__(self, "kernels", tuple(map(_frozen, self.kernels)))
        object.__setattr__(self, "coarse", None if self.coarse is None else _frozen(self.coarse))
        object.__setattr__(self, "ans_tables", _ans_tables(self.tables))
        context = Context(self.groups, self.bias, self.kernels, self.coarse, self.prediction, len(self.tables))
        object.__setattr__(self, "context", context)
        if self.qualities > _MAX_QUALITIES:
            raise ValueError(f"qualities of a latent: expected at most {_MAX_QUALITIES}, found {self.qualities}")

    @property
    def channels(self) -> int:
        """C."""
        return sum(self.groups)

    @property
    def qualities(self) -> int:
        """Q."""
        return len(self.bias)

    @property
    def max_symbol(self) -> int:
        """M: symbols and residuals are -M to M."""
        return self.tables.shape[1] // 2


@dataclass(frozen=True, eq=False)
class Coded:
    """What is coded of a latent, (C, h, w) each."""

    tables: NDArray[np.uint8]
    """Which table codes each position."""
    residuals: Int32
    """What it codes, -M to M."""


class LatentCoder:
    """Codes the latents of one frame.

    Args:
        models: from the coarsest latent to the finest.

    Attributes:
        qualities: Q; a quality is 1 to Q.
        max_symbols: M of each latent.

    Raises:
        ValueError: models that do not go together.
    """

    def __init__(self, models: Sequence[LatentModel]) -> None:
        if not 1 <= len(models) <= len(LATENT_LEVELS):
            raise ValueError(f"latents of a codec: expected 1 to {len(LATENT_LEVELS)}, found {len(models)}")
        self._models = tuple(models)
        self._levels = LATENT_LEVELS[: len(models)]
        self._ratios = (1, *(coarser.stride // model.stride for coarser, model in pairwise(models)))
        self.qualities = models[0].qualities
        self.max_symbols = tuple(model.max_symbol for model in models)
        if models[0].coarse is not None:
            raise ValueError("coarse weights of y0: expected none, since no latent is coarser; found some")
        for level, (coarser, model) in zip(self._levels[1:], pairwise(models), strict=True):
            _check_order(level, coarser, model)

    def shapes(self, geometry: Geometry) -> tuple[Shape, ...]:
        """(C, h, w) of every latent."""
        return tuple((model.channels, *geometry.cells(model.stride)) for model in self._models)

    def encode(self, latents: Latents, quality: int) -> tuple[Chunk, ...]:
        """The chunks of a frame, y0 first.

        Args:
            latents: per latent (C, h, w) integers from -M to M, in shapes that `shapes` can give.
            quality: 1 to Q.

        Raises:
            ValueError: other latents, or another quality.
        """
        whole = self._checked(latents, quality)
        chunks = []
        for index, (level, model) in enumerate(zip(self._levels, self._models, strict=True)):
            groups = []
            for part in self._passes(index, whole, quality):
                order, runs = _by_table(part.tables)
                residuals = part.residuals(_flat(whole[index])[part.where], model.max_symbol)
                symbols = residuals.reshape(-1)[order] + model.max_symbol
                groups += [(symbols[run], model.ans_tables[table]) for table, run in runs]
            chunks.append(Chunk(level, "ans", Latent(), ans.encode(groups)))
        return tuple(chunks)

    def decode(
        self, chunks: Sequence[Chunk], geometry: Geometry, quality: int, limits: Limits = DEFAULT_LIMITS
    ) -> tuple[Int32, ...]:
        """The latents of a frame.

        Args:
            chunks: of a packet.
            geometry: of its network input.
            quality: of the packet.
            limits: of the receiver.

        Returns:
            Per latent (C, h, w) int32, from -M to M.

        Raises:
            ProtocolError: chunks other than y0 to the finest latent, a quality outside 1 to Q, a shape beyond the
                limits, or a payload that does not end with the last symbol.
        """
        if tuple(chunk.level for chunk in chunks) != self._levels:
            found = ", ".join(chunk.level for chunk in chunks) or "none"
            raise InvalidField("chunks of the learned codec", ", ".join(self._levels), found)
        if not 1 <= quality <= self.qualities:
            raise InvalidField("quality of the learned codec", f"1 to {self.qualities}", quality)
        shapes = self.shapes(geometry)
        for level, shape in zip(self._levels, shapes, strict=True):
            if math.prod(shape) > limits.max_elements:
                found = f"{math.prod(shape)}, shape {shape}"
                raise LimitExceeded(f"elements of {level}", f"at most {limits.max_elements}", found)
        latents: list[Int32] = []
        for index, (model, chunk) in enumerate(zip(self._models, chunks, strict=True)):
            latent = np.zeros(shapes[index], dtype=np.int32)
            latents.append(latent)
            decoder = ans.AnsDecoder(chunk.payload, f"payload of {chunk.level}")
            for part in self._passes(index, latents, quality):
                order, runs = _by_table(part.tables)
                symbols = np.empty(part.tables.size, dtype=np.int32)
                for table, run in runs:
                    symbols[order[run]] = decoder.decode(run.stop - run.start, model.ans_tables[table])
                residuals = symbols.reshape(part.tables.shape) - model.max_symbol
                _flat(latent)[part.where] = part.symbols(residuals, model.max_symbol)
            decoder.finish()
        return tuple(latents)

    def coded(self, latents: Latents, quality: int) -> tuple[Coded, ...]:
        """What is coded of each latent; arguments and errors as for `encode`.

        The tables count by their number and length alone, so that this serves to fit them.
        """
        whole = self._checked(latents, quality)
        found = tuple(Coded(np.empty(latent.shape, np.uint8), np.empty(latent.shape, np.int32)) for latent in whole)
        for index, (model, latent, of_latent) in enumerate(zip(self._models, whole, found, strict=True)):
            for part in self._passes(index, whole, quality):
                _flat(of_latent.tables)[part.where] = part.tables
                residuals = part.residuals(_flat(latent)[part.where], model.max_symbol)
                _flat(of_latent.residuals)[part.where] = residuals
        return found

    def information(self, latents: Latents, quality: int) -> tuple[float, ...]:
        """Bits that each latent's symbols carry, the sum of -log2 p; arguments and errors as for `encode`."""
        bits = []
        for model, coded in zip(self._models, self.coded(latents, quality), strict=True):
            counts = model.tables[coded.tables, coded.residuals + model.max_symbol]
            bits.append(float((ans.PRECISION_BITS - np.log2(counts)).sum()))
        return tuple(bits)

    def _passes(self, index: int, latents: Sequence[Int32], quality: int) -> Iterator[Pass]:
        coarser = latents[index - 1] if index else None
        return self._models[index].context.passes(latents[index], quality, coarser, self._ratios[index])

    def _checked(self, latents: Latents, quality: int) -> tuple[Int32, ...]:
        """The latents as int32."""
        if not 1 <= quality <= self.qualities:
            raise ValueError(f"quality: expected 1 to {self.qualities}, found {quality}")
        if len(latents) != len(self._models):
            raise ValueError(f"latents of a frame: expected {len(self._models)}, found {len(latents)}")
        for level, model, latent in zip(self._levels, self._models, latents, strict=True):
            bound = model.max_symbol
            if latent.dtype.kind not in "iu" or latent.ndim != 3 or len(latent) != model.channels or not latent.size:
                expected = f"integers of shape ({model.channels}, height, width)"
                raise ValueError(f"{level}: expected {expected}, found {latent.dtype} of shape {latent.shape}")
            if latent.min() < -bound or latent.max() > bound:
                found = f"{latent.min()} to {latent.max()}"
                raise ValueError(f"{level}: expected symbols from {-bound} to {bound}, found {found}")
        for level, ratio, (coarser, latent) in zip(self._levels[1:], self._ratios[1:], pairwise(latents), strict=True):
            sides = tuple(-(-side // ratio) for side in latent.shape[1:])
            if coarser.shape[1:] != sides:
                found = f"{coarser.shape[1:]} beside {latent.shape[1:]}"
                raise ValueError(f"sides of the latent before {level}: expected {sides}, found {found}")
        return tuple(latent.astype(np.int32) for latent in latents)


def _flat(latent: NDArray[T]) -> NDArray[T]:
    """(C, h * w), a view."""
    return latent.reshape(len(latent), -1)


def _by_table(indices: NDArray[np.uint8]) -> tuple[NDArray[np.intp], list[tuple[int, slice]]]:
    """The order in which symbols are coded, sorted by their table, and where each table's symbols lie in it."""
    order = np.argsort(indices, axis=None, kind="stable")  # a radix sort, for bytes
    counts = np.bincount(indices.reshape(-1))
    ends = counts.cumsum()
    tables = np.flatnonzero(counts)
    runs = zip(tables.tolist(), (ends - counts)[tables].tolist(), ends[tables].tolist(), strict=True)
    return order, [(table, slice(start, end)) for table, start, end in runs]


def _check_order(level: str, coarser: LatentModel, model: LatentModel) -> None:
    """Raises ValueError unless `model`, of `level`, can follow `coarser`."""
    if model.stride >= coarser.stride or coarser.stride % model.stride:
        raise ValueError(f"stride of {level}: expected a divisor of {coarser.stride} below it, found {model.stride}")
    if model.qualities != coarser.qualities:
        raise ValueError(f"qualities of {level}: expected {coarser.qualities}, as before it, found {model.qualities}")
    if model.coarse is None:
        raise ValueError(f"coarse weights of {level}: expected an array, found none")
    check_array(f"coarse weights of {level}", model.coarse, np.int8, (model.channels, coarser.channels))


def _ans_tables(tables: NDArray[np.uint32]) -> tuple[ans.AnsTable, ...]:
    count, length = tables.shape if tables.ndim == 2 else (0, 0)
    if not 1 <= count <= MAX_TABLES or count % PHASES or length < 3 or length % 2 == 0:
        expected = f"{PHASES} to {MAX_TABLES} rows, a multiple of {PHASES}, of 2M + 1 counts, M >= 1"
        raise ValueError(f"tables of a latent: expected {expected}, found shape {tables.shape}")
    check_array("tables of a latent", tables, np.uint32, (count, length))
    sums = tables.sum(axis=1, dtype=np.int64)
    if (sums != _TABLE_TOTAL).any():
        table = int(np.argmax(sums != _TABLE_TOTAL))
        raise ValueError(f"table {table} of a latent: expected counts of sum 2**24, found sum {sums[table]}")
    return tuple(map(ans.AnsTable, tables))


def _frozen(array: NDArray[T]) -> NDArray[T]:
    copy = np.array(array)
    copy.flags.writeable = False
    return copy
