"""The codec `learned`: the pyramid out of small integer latents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.latent import LatentCoder
from keyfpn.protocol.packet import CODEC_IDS

from ..codec import Codec, Encoder
from ..settings import CodecSettings
from .coders import LearnedDecoder, LearnedEncoder
from .files import ENTROPY_FILE, FOLDER, SHAPE_FILE, SYNTHESIS_FILE, read_coder, read_gains, read_shape
from .shape import LATENTS, Shape

if TYPE_CHECKING:
    from .transform_pair import LatentAnalysis, LatentRebuilder

DEFAULT_QUALITY = 5


class LearnedCodec(Codec):
    """Sends three small latents instead of levels, and rebuilds every level from them.

        res2, inner and lateral maps ──► analysis ──► gains, rounding ──► y0, y1, y2 ──► synthesis ──► p2 … p5 ──► p6

    Trained for rate and distortion against its detector (``keyfpn-train codec``), whose model folder holds its files.

    Options:
        quality: 1 (fewest bytes) to the codec's last quality.
    """

    name = "learned"
    wire_id = CODEC_IDS["learned"]
    files = (FOLDER,)

    # Of the model's files, whose content is checked against the manifest: nothing here outlives the model it is of.

    @cached_property
    def shape(self) -> Shape:
        """The sizes of its parts; raises ModelError as :func:`~.files.read_shape` does."""
        return read_shape(self.model)

    @cached_property
    def coder(self) -> LatentCoder:
        """Of all streams; raises ModelError as :func:`~.files.read_coder` does."""
        return read_coder(self.model, self.shape)

    def can_decode(self) -> bool:
        return self.model.has(SHAPE_FILE, ENTROPY_FILE, SYNTHESIS_FILE)

    def encoder(self, settings: CodecSettings) -> LearnedEncoder:
        settings.require_known(("quality",))
        if not self.model.published_with(SHAPE_FILE, ENTROPY_FILE):
            hint = "Train one with keyfpn-train codec, or choose another codec."
            raise ConfigurationError("codec learned", f"a learned codec in the model {self.model.name}", "none", hint)
        qualities = self.shape.qualities
        allowed = tuple(str(quality) for quality in range(1, qualities + 1))
        quality = int(settings.choose("quality", allowed, str(min(DEFAULT_QUALITY, qualities))))
        return LearnedEncoder(self, self.coder, read_gains(self.model, self.shape), quality)

    def analysis(self, encoder: Encoder, device: str = "cpu") -> LatentAnalysis:
        from .transform_pair import LatentAnalysis

        return LatentAnalysis(self.model, self.shape, device)

    def decoder(self) -> LearnedDecoder:
        return LearnedDecoder(self.model, self.coder)

    def rebuilder(self, device: str = "cpu") -> LatentRebuilder:
        from .transform_pair import LatentRebuilder

        return LatentRebuilder(self.model, self.shape, device)

    def provenance(self, sent: Sequence[str]) -> dict[str, str]:
        pyramid = self.model.pyramid
        words = {level: f"synthesis from {', '.join(LATENTS)}" for level in pyramid.independent}
        return words | {level: f"max-pool of the rebuilt {source}" for level, source in pyramid.derived.items()}

    def sweep(self) -> list[CodecSettings]:
        return [CodecSettings(self.name, (("quality", str(q)),)) for q in range(1, self.shape.qualities + 1)]
