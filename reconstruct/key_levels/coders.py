"""Key levels to chunks, and back."""

from __future__ import annotations

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk, Uniform, decode_level, encode_level
from keyfpn.protocol.errors import InvalidField
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import fit_ranges

from ..codec import Arrays, Codec, Decoder, Encoder, Unpacked
from .coding import Coding
from .parameters import Parameters


class LevelEncoder(Encoder):
    """Each key level one chunk; remembers nothing."""

    def __init__(self, codec: Codec, coding: Coding, parameters: Parameters) -> None:
        """Take options that were checked, and the model's ranges."""
        self.codec, self._coding, self._parameters = codec, coding, parameters
        self.settings, self.inputs, self.reads = coding.settings(codec.name), coding.levels, coding.levels

    def encode(self, arrays: Arrays) -> tuple[Chunk, ...]:
        return tuple(self._encode_level(level, arrays) for level in self.inputs)

    def _encode_level(self, level: str, arrays: Arrays) -> Chunk:
        coding, values = self._coding, arrays[level]
        model_ranges = self._parameters.ranges.get((level, coding.bits))
        measured = None
        if coding.integers and coding.ranges != "model":
            measured = fit_ranges(values, coding.bits, "mse" if coding.ranges == "picture" else "minmax")
        return encode_level(level, values, coding.quantization(measured), coding.coder, model_ranges)


class LevelDecoder(Decoder):
    """The key levels are those of the packet's chunks; each chunk tells its own precision and coder."""

    def __init__(self, codec: str, model: Model, parameters: Parameters, required: tuple[str, ...]) -> None:
        """Prepare for packets.

        Args:
            codec: its name.
            model: whose packets.
            parameters: with the model's ranges.
            required: at least one of these levels must be there.
        """
        self._codec, self._model, self._parameters, self._required = codec, model, parameters, required

    def unpack(self, packet: Packet, limits: Limits = DEFAULT_LIMITS) -> Unpacked:
        levels, known = packet.key_levels, self._model.pyramid.levels
        if not set(levels) <= set(known) or not set(levels) & set(self._required):
            expected = f"some of {', '.join(known)}, with one of {', '.join(self._required)}"
            raise InvalidField(f"levels of a {self._codec} packet", expected, ", ".join(levels) or "none")
        geometry = self._model.geometry(packet.network_size)
        arrays = {}
        for chunk in packet.chunks:
            bits = chunk.quantization.bits if isinstance(chunk.quantization, Uniform) else 0
            ranges = self._parameters.ranges.get((chunk.level, bits))
            arrays[chunk.level] = decode_level(chunk, geometry.level_shape(chunk.level), limits, ranges)
        return Unpacked(arrays, geometry, packet.quality)
