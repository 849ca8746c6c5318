"""The codec `network`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.packet import CODEC_IDS

from ..key_levels.codec import LevelCodec
from ..key_levels.coders import LevelEncoder
from ..settings import CodecSettings
from .files import FOLDER, SHAPE_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from .rebuilder import NetworkRebuilder


class NetworkCodec(LevelCodec):
    """Rebuilds what was not sent by the reconstruction network of the model.

        p3, p5 ──► sent ──► network ──► p2, p4; p6 by max-pool of p5

    Levels that were sent stay as they came. Options as for ``interpolate``.
    """

    name = "network"
    wire_id = CODEC_IDS["network"]
    files = (*LevelCodec.files, FOLDER)
    default_levels = "p3+p5"
    swept = ("precision=fp32", *(f"precision=int{bits}" for bits in (8, 4, 3, 2)))

    @property
    def required(self) -> tuple[str, ...]:
        return self.model.pyramid.independent

    def can_decode(self) -> bool:
        return super().can_decode() and self.model.has(SHAPE_FILE, WEIGHTS_FILE)

    def encoder(self, settings: CodecSettings) -> LevelEncoder:
        # The edge does not need its files; but no server could rebuild what it sends.
        if not self.model.published_with(SHAPE_FILE, WEIGHTS_FILE):
            hint = "Train one with keyfpn-train network."
            raise ConfigurationError("codec network", f"a reconstruction network in {self.model.name}", "none", hint)
        encoder = super().encoder(settings)
        if not set(encoder.inputs) & set(self.required):
            expected = f"one of {', '.join(self.required)} at least"
            raise ConfigurationError("codec network, levels", expected, "+".join(encoder.inputs))
        return encoder

    def rebuilder(self, device: str = "cpu") -> NetworkRebuilder:
        from .rebuilder import NetworkRebuilder, read_network

        return NetworkRebuilder(self.model.pyramid, read_network(self.model), device)

    def rule(self, level: str, sent: Sequence[str]) -> str:
        return f"network from {'+'.join(sent)}"
