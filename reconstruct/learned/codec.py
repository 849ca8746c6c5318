"""Codec `learned`: the pyramid out of small integer latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.chunk import Chunk
from keyfpn.protocol.errors import ConfigurationError, InvalidField, LimitExceeded
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.latent import LatentCoder
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet

from ..codec import LEVELS, FeatureCodec, register
from ..levels import last_level_max_pool
from ..settings import CodecSettings
from .files import ANALYSIS_FILE, FOLDER, SYNTHESIS_FILE, folder_of, has_codec, read_coder, read_shape, read_weights
from .gains import Gains
from .network import Shape
from .transforms import KEY_LEVELS, Analysis, Synthesis

DEFAULT_QUALITY = 5
Part = TypeVar("Part", bound=nn.Module)


@register
class LearnedCodec(FeatureCodec):
    """Sends three small latents instead of levels, and rebuilds every level from them.

        res2, inner and lateral maps ──► analysis ──► gains, rounding ──► y0, y1, y2 ──► synthesis ──► p2 … p5 ──► p6

    Trained for rate and distortion against its detector (``keyfpn-train codec``), whose model folder holds its files.

    Options:
        quality: 1 (fewest bytes) to the codec's last quality.
    """

    name = "learned"
    files = (FOLDER,)
    key_levels = KEY_LEVELS

    def __init__(self, folder: Path, fingerprint: bytes, quality: int) -> None:
        """Use :func:`~keyfpn.reconstruct.codec.build_codec` or :func:`~keyfpn.reconstruct.codec.codec_of`."""
        self._files, self.quality = (folder, fingerprint), quality
        self.qualities = _shape(*self._files).qualities

    @classmethod
    def from_settings(cls, settings: CodecSettings, model: DetectorModel) -> Self:
        """See the class for the option; quality 5 is its default."""
        settings.require_known(("quality",))
        try:
            folder = folder_of(model)
            qualities = _shape(folder, model.fingerprint).qualities
        except ModelError as error:
            raise ConfigurationError(f"codec {cls.name}: {error}; train one with keyfpn-train codec") from error
        allowed = tuple(str(quality) for quality in range(1, qualities + 1))
        quality = settings.choose("quality", allowed, str(min(DEFAULT_QUALITY, qualities)))
        return cls(folder, model.fingerprint, int(quality))

    @classmethod
    def from_packet(cls, packet: Packet, model: DetectorModel) -> Self:
        """The quality is the packet's."""
        folder = folder_of(model)
        qualities = _shape(folder, model.fingerprint).qualities
        if not 1 <= packet.quality <= qualities:
            raise InvalidField("quality of the learned codec", f"1 to {qualities}", packet.quality)
        return cls(folder, model.fingerprint, packet.quality)

    @classmethod
    def serves(cls, model: DetectorModel) -> bool:
        return model.folder is not None and has_codec(model.folder)

    @property
    def settings(self) -> CodecSettings:
        return CodecSettings(self.name, (("quality", str(self.quality)),))

    def encode(self, features: Mapping[str, Tensor]) -> tuple[Chunk, ...]:
        analysis, gains = _edge_part(*self._files)
        coder = _coder(*self._files)
        with torch.inference_mode():
            scaled = gains.scale(analysis(features), torch.tensor([self.quality - 1]))
        # What lies beyond the tables is cut off: so rare that an escape code would cost more than it saves.
        symbols = [
            torch.round(y[0]).clamp(-bound, bound).to(torch.int32).numpy()
            for y, bound in zip(scaled, coder.max_symbols, strict=True)
        ]
        return coder.encode(symbols, self.quality)

    def decode(self, chunks: Sequence[Chunk], geometry: Geometry, limits: Limits = DEFAULT_LIMITS) -> dict[str, Tensor]:
        finest = geometry.elements(["p2"])
        if finest > limits.max_elements:
            raise LimitExceeded("elements of p2", f"at most {limits.max_elements}", finest)
        synthesis, gains = _server_part(*self._files)
        latents = _coder(*self._files).decode(chunks, geometry, self.quality, limits)
        with torch.inference_mode():
            symbols = [torch.from_numpy(latent)[None].float() for latent in latents]
            pyramid = synthesis(gains.unscale(symbols, torch.tensor([self.quality - 1])))
            return pyramid | {"p6": last_level_max_pool(pyramid["p5"])}

    def provenance(self) -> dict[str, str]:
        words = dict.fromkeys(LEVELS, "synthesis from y0, y1, y2")
        return words | {"p6": "max-pool of the rebuilt p5"}


# Read once per process. The fingerprint is in the key, because a folder may be published anew while a process runs.


@lru_cache(maxsize=8)
def _shape(folder: Path, _fingerprint: bytes) -> Shape:
    return read_shape(folder)


@lru_cache(maxsize=8)
def _coder(folder: Path, fingerprint: bytes) -> LatentCoder:
    return read_coder(folder, _shape(folder, fingerprint))


@lru_cache(maxsize=8)
def _edge_part(folder: Path, fingerprint: bytes) -> tuple[Analysis, Gains]:
    shape = _shape(folder, fingerprint)
    analysis, gains = Analysis(shape.key_channels, shape.analysis, shape.latents), Gains(shape.latents, shape.qualities)
    read_weights(folder, ANALYSIS_FILE, {"analysis": analysis, "gain": gains.log_gain})
    analysis.fold()
    return _ready(analysis), gains


@lru_cache(maxsize=8)
def _server_part(folder: Path, fingerprint: bytes) -> tuple[Synthesis, Gains]:
    shape = _shape(folder, fingerprint)
    synthesis, gains = (
        Synthesis(shape.key_channels, shape.synthesis, shape.latents),
        Gains(shape.latents, shape.qualities),
    )
    read_weights(folder, SYNTHESIS_FILE, {"synthesis": synthesis, "inverse": gains.log_inverse})
    return _ready(synthesis), gains


def _ready(network: Part) -> Part:
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
