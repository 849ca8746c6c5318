"""The sizes of a learned codec's parts, and what stands between them."""

from __future__ import annotations

from dataclasses import dataclass

LATERALS = ("lateral5", "lateral4", "lateral3")
"""What y0, y1 and y2 hold in the linear way."""
STANDARDIZED = ("inner3", "inner4", "inner5", "res2")
"""What the analysis reads besides, standardized."""
KEY_LEVELS = (*STANDARDIZED, *LATERALS)
"""What the analysis reads: all that the edge has computed on its way to p3, before any output convolution."""
LATENTS = ("y0", "y1", "y2")
LATENT_STRIDES = (32, 16, 8)
"""Of y0, y1 and y2."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a learned codec's parts; raises ValueError where they are none."""

    pyramid_channels: int
    res2_channels: int
    analysis: tuple[int, int, int] = (64, 96, 128)
    """Hidden channels of the analysis at strides 8, 16 and 32."""
    synthesis: tuple[int, int, int, int] = (192, 160, 96, 64)
    """Hidden channels of the synthesis at strides 32, 16, 8 and 4."""
    groups: tuple[tuple[int, ...], ...] = ((16, 80), (16, 80), (8, 24))
    """Channel groups of y0, y1 and y2, in coding order."""
    qualities: int = 8

    def __post_init__(self) -> None:
        sizes = [self.pyramid_channels, self.res2_channels, *self.analysis, *self.synthesis, self.qualities]
        sizes += [size for groups in self.groups for size in groups]
        lengths = len(self.analysis), len(self.synthesis), len(self.groups)
        if lengths != (3, 4, len(LATENTS)) or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"expected 3, 4 and 3 parts of whole sizes from 1 on, found {self}")

    @property
    def latents(self) -> tuple[int, ...]:
        """Channels of each latent."""
        return tuple(sum(groups) for groups in self.groups)

    @property
    def key_channels(self) -> dict[str, int]:
        """Channels of what the analysis reads."""
        return {level: self.res2_channels if level == "res2" else self.pyramid_channels for level in KEY_LEVELS}
