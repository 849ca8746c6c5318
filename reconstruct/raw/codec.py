"""The codec `raw`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyfpn.protocol.packet import CODEC_IDS

from ..key_levels.codec import LevelCodec

if TYPE_CHECKING:
    from .rebuilder import ZeroFiller


class RawCodec(LevelCodec):
    """Sends any subset of the levels and invents nothing.

        key levels ──► quantize ──► entropy code ──► … ──► the same levels; p6 from p5; zeros for the rest

    A level that was neither sent nor follows from p5 is all zeros: RPN and ROI heads find nothing there. With all of
    p2 to p5 in fp32 this is the unsplit detector, bit for bit.
    """

    name = "raw"
    wire_id = CODEC_IDS["raw"]
    default_levels = "p2+p3+p4+p5"

    def rebuilder(self, device: str = "cpu") -> ZeroFiller:
        from .rebuilder import ZeroFiller

        return ZeroFiller(self.model.pyramid, device)

    def rule(self, level: str, sent: Sequence[str]) -> str:
        return "not sent: zeros"
