"""What `raw` makes of levels that were not sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from keyfpn.protocol.geometry import Geometry

from ..key_levels.rebuilder import LevelRebuilder


class ZeroFiller(LevelRebuilder):
    """Zeros."""

    def fill(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        some = next(iter(sent.values()))
        return {level: some.new_zeros(len(some), *geometry.level_shape(level)) for level in missing}
