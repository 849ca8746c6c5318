"""The feature pyramid of a detector: which levels there are, and which follow from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.geometry import Geometry

from .errors import ModelError

_MAX_POOL: Mapping[str, str] = MappingProxyType({"p6": "p5"})


@dataclass(frozen=True)
class Pyramid:
    """What is the same for every picture: names, channels, and what derives from what.

    >>> pyramid = Pyramid(channels=256, independent=("p2", "p3", "p4", "p5"))
    >>> pyramid.levels
    ('p2', 'p3', 'p4', 'p5', 'p6')
    >>> pyramid.geometry((800, 1216)).level_shape("p6")
    (256, 13, 19)

    Attributes:
        channels: of every level.
        independent: the levels that the FPN computes, fine to coarse; level k has stride 2**k.
        derived: level to the one that it follows from, exactly: every second value of it, as detectron2's
            ``LastLevelMaxPool`` (kernel 1, stride 2) takes it.
        size_divisibility: the sides of the network's input are padded to a multiple of this.
    """

    channels: int
    independent: tuple[str, ...]
    derived: Mapping[str, str] = field(default_factory=lambda: _MAX_POOL)
    size_divisibility: int = 32

    @property
    def levels(self) -> tuple[str, ...]:
        """All levels, fine to coarse."""
        return (*self.independent, *self.derived)

    def geometry(self, network_size: tuple[int, int]) -> Geometry:
        """The shapes of all levels of a picture of ``network_size`` (height, width), before padding."""
        return Geometry(
            network_size=network_size,
            channels=self.channels,
            size_divisibility=self.size_divisibility,
            levels=self.levels,
        )

    def key_levels(self, text: str, subject: str) -> tuple[str, ...]:
        """Levels joined by ``+``, fine to coarse.

        Raises:
            ConfigurationError: a level that the pyramid does not have, or one that is named twice.
        """
        named = text.split("+")
        if not set(named) <= set(self.levels) or len(set(named)) != len(named):
            expected = f"some of {', '.join(self.levels)}, each once, joined by +"
            raise ConfigurationError(f"{subject}, levels", expected, repr(text))
        return tuple(level for level in self.levels if level in named)

    def origin(self, level: str) -> str:
        """In words, how a derived level follows from its source."""
        return f"exact from {self.derived[level]} (max-pool, kernel 1, stride 2)"

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Pyramid:
        """Of a detectron2 config, whose FPN has a ``LastLevelMaxPool``.

        Raises:
            ModelError: it is the config of a detector without an FPN.
        """
        fpn = config["MODEL"]["FPN"]
        if not fpn.get("IN_FEATURES"):
            raise ModelError("detector", "one with an FPN", "a config whose MODEL.FPN.IN_FEATURES is empty")
        stages = [int(stage.removeprefix("res")) for stage in fpn["IN_FEATURES"]]  # res5 is of stride 2**5
        return cls(
            channels=int(fpn["OUT_CHANNELS"]),
            independent=tuple(f"p{stage}" for stage in stages),
            derived={f"p{stages[-1] + 1}": f"p{stages[-1]}"},
            size_divisibility=2 ** stages[-1],  # as detectron2 pads
        )
