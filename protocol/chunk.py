"""One level of a packet: how its values were quantized and coded, and the coded bytes.

values (C, H, W) ──► quantize ──► symbols or floats ──► entropy code ──► Chunk.payload
"""

from dataclasses import dataclass

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from keyfpn.protocol import entropy
from keyfpn.protocol.entropy import CODER_IDS
from keyfpn.protocol.errors import ConfigurationError, InvalidField, LimitExceeded
from keyfpn.protocol.geometry import PYRAMID_LEVELS
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.quantization import MAX_BITS, MIN_BITS, Ranges, check_bits, dequantize, quantize
from keyfpn.protocol.wire import Reader, write_varint

LATENT_LEVELS = tuple(f"y{index}" for index in range(16))
LEVEL_IDS = {level: int(level[1:]) for level in PYRAMID_LEVELS} | {
    level: 16 + index for index, level in enumerate(LATENT_LEVELS)
}
_LEVELS = {level_id: level for level, level_id in LEVEL_IDS.items()}
_CODERS = {coder_id: coder for coder, coder_id in CODER_IDS.items()}
_FLOAT32, _FLOAT16, _UNIFORM_OF_MODEL, _UNIFORM_SENT, _LATENT = range(5)
_BFLOAT16 = np.dtype(bfloat16).newbyteorder("<")


@dataclass(frozen=True)
class Float:
    """No quantization: IEEE floats of 32 or 16 `bits`."""

    bits: int = 32

    def __post_init__(self) -> None:
        if self.bits not in (32, 16):
            raise ConfigurationError("bits of a float", "32 or 16", self.bits)


@dataclass(frozen=True)
class Uniform:
    """Uniform quantization to `bits` per value (2 to 8); `ranges` travel in the chunk, None means the model's."""

    bits: int
    ranges: Ranges | None = None

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if self.ranges is not None and self.ranges.bits != self.bits:
            raise ConfigurationError("ranges of a chunk", f"ranges for {self.bits} bits", f"{self.ranges.bits} bits")


@dataclass(frozen=True)
class Latent:
    """Integers of a learned codec, whose tables live in the model files."""


Quantization = Float | Uniform | Latent


def check_coding(quantization: Quantization, coder: str) -> None:
    """Call where settings are read: not every coder goes with every quantization.

    Raises:
        ConfigurationError: an unknown coder, `ans` with floats, or a latent with anything but `ans`.
    """
    if coder not in CODER_IDS:
        raise ConfigurationError("coder", f"one of {', '.join(CODER_IDS)}", repr(coder))
    if isinstance(quantization, Float) and coder == "ans":
        raise ConfigurationError(
            "coder of floats", "store or zstd", coder, "ans codes integers only: quantize, or choose another coder."
        )
    if isinstance(quantization, Latent) and coder != "ans":
        raise ConfigurationError("coder of a latent", "ans, with the tables of its model", coder)


@dataclass(frozen=True)
class Chunk:
    """One coded level.

    Attributes:
        level: `"p2"` to `"p7"`, or a latent, `"y0"` to `"y15"`.
        coder: `"store"`, `"zstd"` or `"ans"`.
        quantization: `Float` or `Uniform` for a pyramid level, `Latent` for a latent.
        payload: the coded values.

    Raises:
        ConfigurationError: parts that do not go together.
    """

    level: str
    coder: str
    quantization: Quantization
    payload: bytes

    def __post_init__(self) -> None:
        check_coding(self.quantization, self.coder)
        if self.level not in LEVEL_IDS:
            raise ConfigurationError("level of a chunk", f"one of {', '.join(LEVEL_IDS)}", repr(self.level))
        if isinstance(self.quantization, Latent) != (self.level in LATENT_LEVELS):
            expected = "a latent" if self.level in LATENT_LEVELS else "float or uniform"
            raise ConfigurationError(f"quantization of {self.level}", expected, type(self.quantization).__name__)

    @property
    def header(self) -> bytes:
        """What stands before the payload in a packet."""
        scheme, parameters = _write_quantization(self.quantization)
        coding = CODER_IDS[self.coder] << 4 | scheme
        return bytes([LEVEL_IDS[self.level], coding]) + parameters + write_varint(len(self.payload))

    @property
    def wire_bytes(self) -> int:
        """Length of header and payload."""
        return len(self.header) + len(self.payload)

    @classmethod
    def read(cls, reader: Reader) -> "Chunk":
        """Reads one chunk.

        Raises:
            Truncated: the bytes end within it.
            InvalidField: a field that the format does not define, or fields that do not go together.
        """
        level_id = reader.uint(1, "level of a chunk")
        if level_id not in _LEVELS:
            raise InvalidField("level of a chunk", f"one of {sorted(_LEVELS)}", level_id)
        level = _LEVELS[level_id]
        coding = reader.uint(1, f"coding of {level}")
        coder_id, scheme = coding >> 4, coding & 0xF
        if coder_id not in _CODERS:
            raise InvalidField(f"coder of {level}", f"one of {sorted(_CODERS)}", coder_id)
        quantization = _read_quantization(reader, scheme, level)
        payload = reader.take(reader.varint(f"payload length of {level}"), f"payload of {level}")
        try:
            return cls(level, _CODERS[coder_id], quantization, payload)
        except ConfigurationError as error:
            raise InvalidField(
                f"coding of {level}", "a level, quantization and coder that go together", error
            ) from error


def encode_level(
    level: str,
    values: NDArray[np.float32],
    quantization: Quantization,
    coder: str,
    model_ranges: Ranges | None = None,
) -> Chunk:
    """Codes a pyramid level.

    A latent is not for this function: a learned codec makes the `Chunk` itself, with `ans.encode`.

    Args:
        level: `"p2"` to `"p7"`.
        values: (C, H, W) float32, finite.
        quantization: `Float` or `Uniform`.
        coder: `"store"`, `"zstd"` or, for `Uniform`, `"ans"`.
        model_ranges: the ranges of this level in the model files; needed for `Uniform` without ranges of its own.

    Raises:
        ConfigurationError: settings that do not go together.
        FeatureError: values that are not finite, or too large for float16.
        ValueError: values of another shape than the ranges'.
    """
    check_coding(quantization, coder)
    if isinstance(quantization, Float):
        return Chunk(level, coder, quantization, entropy.encode_floats(values, quantization.bits, coder))
    if isinstance(quantization, Latent):
        found = "a latent, which a learned codec codes"
        raise ConfigurationError(f"quantization of {level}", "float or uniform", found)
    ranges = quantization.ranges or model_ranges
    if ranges is None or ranges.bits != quantization.bits:
        found = "no ranges" if ranges is None else f"ranges for {ranges.bits} bits"
        raise ConfigurationError(f"ranges of {level} in the model", f"ranges for {quantization.bits} bits", found)
    symbols = quantize(values, ranges).reshape(-1)
    return Chunk(level, coder, quantization, entropy.encode_symbols(symbols, quantization.bits, coder))


def decode_level(
    chunk: Chunk,
    shape: tuple[int, int, int],
    limits: Limits = DEFAULT_LIMITS,
    model_ranges: Ranges | None = None,
) -> NDArray[np.float32]:
    """The values of a pyramid level.

    Args:
        chunk: from a packet.
        shape: (C, H, W) that `Geometry.level_shape` derives for the level.
        limits: of the receiver.
        model_ranges: the ranges of this level in the model files, if it has any.

    Returns:
        (C, H, W) float32, finite.

    Raises:
        ProtocolError: a chunk that does not hold exactly such a level, a shape beyond the limits, or a latent.
    """
    subject = f"payload of {chunk.level}"
    count = shape[0] * shape[1] * shape[2]
    if count > limits.max_elements:
        raise LimitExceeded(f"elements of {chunk.level}", f"at most {limits.max_elements}", f"{count}, shape {shape}")
    if isinstance(chunk.quantization, Float):
        return entropy.decode_floats(chunk.payload, count, chunk.quantization.bits, chunk.coder, subject).reshape(shape)
    if isinstance(chunk.quantization, Latent):
        raise InvalidField(
            f"quantization of {chunk.level}", "float or uniform", "a latent, which a learned codec decodes"
        )
    bits = chunk.quantization.bits
    ranges = chunk.quantization.ranges or model_ranges
    if ranges is None or ranges.bits != bits or len(ranges.low) != shape[0]:
        found = "none" if ranges is None else f"{ranges.bits} bits, {len(ranges.low)} channels"
        raise InvalidField(f"ranges of {chunk.level}", f"{bits} bits, {shape[0]} channels", found)
    symbols = entropy.decode_symbols(chunk.payload, count, bits, chunk.coder, subject)
    return dequantize(symbols.reshape(shape), ranges)


def _write_quantization(quantization: Quantization) -> tuple[int, bytes]:
    """Scheme id, and the bytes between the coding and the payload length."""
    if isinstance(quantization, Float):
        return (_FLOAT32 if quantization.bits == 32 else _FLOAT16), b""
    if isinstance(quantization, Latent):
        return _LATENT, b""
    bits = bytes([quantization.bits])
    if quantization.ranges is None:
        return _UNIFORM_OF_MODEL, bits
    rows = np.stack([quantization.ranges.low, quantization.ranges.step], axis=1)  # low and step, channel by channel
    return _UNIFORM_SENT, bits + write_varint(len(rows)) + rows.astype(_BFLOAT16).tobytes()


def _read_quantization(reader: Reader, scheme: int, level: str) -> Quantization:
    if scheme in (_FLOAT32, _FLOAT16):
        return Float(32 if scheme == _FLOAT32 else 16)
    if scheme == _LATENT:
        return Latent()
    if scheme not in (_UNIFORM_OF_MODEL, _UNIFORM_SENT):
        raise InvalidField(f"quantization of {level}", f"a scheme from {_FLOAT32} to {_LATENT}", scheme)
    bits = reader.uint(1, f"bits of {level}")
    if not MIN_BITS <= bits <= MAX_BITS:
        raise InvalidField(f"bits of {level}", f"{MIN_BITS} to {MAX_BITS}", bits)
    if scheme == _UNIFORM_OF_MODEL:
        return Uniform(bits)
    channels = reader.varint(f"channels of {level}")
    rows = np.frombuffer(reader.take(4 * channels, f"ranges of {level}"), dtype=_BFLOAT16).reshape(-1, 2)
    low, step = rows.T.astype(np.float32)
    return Uniform(bits, Ranges(low, step, bits))
