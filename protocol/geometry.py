"""The shapes of a feature pyramid, derived from the size of the network input."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyfpn.protocol.errors import InvalidField

PYRAMID_LEVELS = ("p2", "p3", "p4", "p5", "p6", "p7")
_FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What fixes the shape of every level: sent sizes of levels are never trusted, because none are sent.

    Attributes:
        network_size: (height, width) of the resized picture that enters the backbone, in pixels, before padding.
        channels: channels of every level.
        size_divisibility: both sides are padded up to a multiple of this, as detectron2's `ImageList.from_tensors` does
            with the backbone's `size_divisibility`; 0 pads nothing.
        levels: of the pyramid, fine to coarse.

    Raises:
        ValueError: a size below 1, or a negative divisibility.
    """

    network_size: tuple[int, int]
    channels: int
    size_divisibility: int
    levels: tuple[str, ...] = PYRAMID_LEVELS[:5]

    def __post_init__(self) -> None:
        if min(*self.network_size, self.channels) < 1 or self.size_divisibility < 0:
            raise ValueError(
                f"a pyramid needs sizes and channels of at least 1, and a divisibility of 0 or more: {self}"
            )

    @property
    def padded_size(self) -> tuple[int, int]:
        """(height, width) of the padded network input, in pixels."""
        multiple = max(self.size_divisibility, 1)
        height, width = (_ceil_div(side, multiple) * multiple for side in self.network_size)
        return height, width

    def cells(self, stride: int) -> tuple[int, int]:
        """(height, width) of a feature map whose cells are `stride` pixels of the padded network input, rounded up."""
        height, width = (_ceil_div(side, stride) for side in self.padded_size)
        return height, width

    def level_shape(self, level: str) -> tuple[int, int, int]:
        """(channels, height, width) of a pyramid level, `"p2"` to `"p7"`.

        Level k has stride 2**k, and each side is rounded up. That is exact division for the levels of a padded picture,
        and what stride-2 pooling (`LastLevelMaxPool`) and stride-2 3x3 convolution (`LastLevelP6P7`) give for p6, p7.

        Raises:
            InvalidField: no such pyramid level.
        """
        if level not in PYRAMID_LEVELS:
            raise InvalidField("level", "one of " + ", ".join(PYRAMID_LEVELS), repr(level))
        return self.channels, *self.cells(2 ** int(level[1:]))

    def elements(self, levels: Iterable[str]) -> int:
        """Values in all of `levels` together."""
        total = 0
        for level in levels:
            channels, height, width = self.level_shape(level)
            total += channels * height * width
        return total

    def raw_bytes(self, levels: Sequence[str] | None = None) -> int:
        """Bytes of `levels` (the whole pyramid unless told) as float32: the size that compression ratios start from."""
        return _FLOAT32_BYTES * self.elements(self.levels if levels is None else levels)


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)
