"""Latents to chunks, and back: gains, rounding and entropy coding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk
from keyfpn.protocol.errors import FeatureError, InvalidField, LimitExceeded
from keyfpn.protocol.latent import LatentCoder
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet

from ..codec import Arrays, Codec, Decoder, Encoder, Unpacked
from ..settings import CodecSettings
from .shape import KEY_LEVELS, LATENTS


class LearnedEncoder(Encoder):
    """One quality of a codec; remembers nothing."""

    def __init__(self, codec: Codec, coder: LatentCoder, gains: Sequence[NDArray[np.float32]], quality: int) -> None:
        """Take the entropy coder, and of each latent the gains (qualities, channels)."""
        self.codec, self.quality, self.inputs, self.reads = codec, quality, LATENTS, KEY_LEVELS
        self.settings = CodecSettings(codec.name, (("quality", str(quality)),))
        self._coder = coder
        self._gains = [gain[quality - 1][:, None, None] for gain in gains]

    def encode(self, arrays: Arrays) -> tuple[Chunk, ...]:
        symbols = []
        for name, gain, bound in zip(self.inputs, self._gains, self._coder.max_symbols, strict=True):
            scaled = arrays[name] * gain
            if not np.isfinite(scaled).all():
                raise FeatureError(f"latent {name} to send", "finite values", "some that are not")
            # What lies beyond the tables is cut off: so rare that an escape code would cost more than it saves.
            symbols.append(np.rint(scaled).clip(-bound, bound).astype(np.int32))
        return self._coder.encode(symbols, self.quality)


class LearnedDecoder(Decoder):
    """All qualities of a codec: each packet tells its own; remembers nothing."""

    def __init__(self, model: Model, coder: LatentCoder) -> None:
        """Take the entropy coder."""
        self._model, self._coder = model, coder

    def unpack(self, packet: Packet, limits: Limits = DEFAULT_LIMITS) -> Unpacked:
        if not 1 <= packet.quality <= self._coder.qualities:
            raise InvalidField("quality of the learned codec", f"1 to {self._coder.qualities}", packet.quality)
        geometry = self._model.geometry(packet.network_size)
        finest = geometry.elements(geometry.levels[:1])
        if finest > limits.max_elements:
            raise LimitExceeded(f"elements of {geometry.levels[0]}", f"at most {limits.max_elements}", finest)
        latents = self._coder.decode(packet.chunks, geometry, packet.quality, limits)
        return Unpacked(dict(zip(LATENTS, latents, strict=True)), geometry, packet.quality)
