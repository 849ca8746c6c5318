"""What the study did to pyramids: levels scaled down and up again, and p4 mixed of p3 and p5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.derive import with_derived
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.interpolate.rebuilder import Interpolator, scale
from keyfpn.reconstruct.key_levels.parameters import Mix

from ..engine.errors import BenchmarkError
from ..engine.view import View
from ..engine.way import Sent

LEVELS = ("p2", "p3", "p4", "p5", "p6")
"""What the study degrades; a detector with other levels is refused."""
KEY_LEVELS = ("p3", "p5")
"""What the study sends."""
P4_OF_P3_AND_P5 = ("p4", "p3", "p5")
"""Its mix among a model's parameters."""
_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Degrade:
    """Every level scaled down by its factor and up again, bilinear both ways without a low-pass filter.

    The rule of the study's ``--cr`` (github.com/dbwp031/detectron2, 2022), except that a side is rounded where the
    study cut it off, and never falls below 1.
    """

    factors: tuple[float, ...]
    """Of p2 … p6, each at least 1; 1 leaves a level as it is."""

    reads_features: ClassVar[bool] = True

    @property
    def setting(self) -> str:
        """The factors, as ``--cr`` takes them."""
        return " ".join(repr(factor).removesuffix(".0") for factor in self.factors)

    @property
    def key(self) -> str:
        return f"degrade:{self.setting}"

    def send(self, view: View) -> Sent:
        return Sent(_FLOAT32_BYTES * self.elements(view.geometry), self.degrade(view.features, view.geometry))

    def degrade(self, features: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        """``p2 … p6`` scaled down and up again, each (1, C, h, w) float32, of true ones."""
        degraded = {}
        for level, factor in zip(LEVELS, self.factors, strict=True):
            feature = features[level]
            _, height, width = geometry.level_shape(level)
            small = (_shrunk(height, factor), _shrunk(width, factor))
            degraded[level] = feature if factor == 1 else scale(scale(feature, small), (height, width))
        return degraded

    def elements(self, geometry: Geometry) -> int:
        """Values of the small levels together."""
        total = 0
        for level, factor in zip(LEVELS, self.factors, strict=True):
            channels, height, width = geometry.level_shape(level)
            total += channels * _shrunk(height, factor) * _shrunk(width, factor)
        return total

    @classmethod
    def of(cls, levels: Sequence[str], factor: float) -> Degrade:
        """Some levels by one factor, the others as they are."""
        return cls(tuple(factor if level in levels else 1.0 for level in LEVELS))

    @classmethod
    def parse(cls, text: str) -> Degrade:
        """Read one factor per level, ``1 1 1 1 4``, or those that are not 1 by name, ``p6=4``.

        Raises:
            BenchmarkError: another number of factors, a factor below 1, or a level that the pyramid does not have.
        """
        words = text.replace(",", " ").split()
        if any("=" in word for word in words):
            named = {level: _factor(value, text) for level, _, value in (word.partition("=") for word in words)}
            unknown = [level for level in named if level not in LEVELS]
            if unknown:
                raise BenchmarkError(f"--cr {text}", f"levels among {', '.join(LEVELS)}", unknown[0])
            return cls(tuple(named.get(level, 1.0) for level in LEVELS))
        if len(words) != len(LEVELS):
            raise BenchmarkError(f"--cr {text}", f"{len(LEVELS)} factors, for {', '.join(LEVELS)}", len(words))
        return cls(tuple(_factor(word, text) for word in words))


@dataclass(frozen=True)
class P4Mix:
    """p3 and p5 sent, p4 = a * up(p5) + b * down(p3), and p2 and p6 as the codec ``interpolate`` makes them."""

    mix: Mix
    """(a, b)."""

    key_levels: ClassVar[tuple[str, ...]] = KEY_LEVELS
    reads_features: ClassVar[bool] = True

    @property
    def setting(self) -> str:
        """A and b, by name."""
        a, b = self.mix
        return f"a={a!r},b={b!r}"

    @property
    def key(self) -> str:
        return f"p4mix:{self.setting}"

    def send(self, view: View) -> Sent:
        sent = _FLOAT32_BYTES * view.geometry.elements(KEY_LEVELS)
        return Sent(sent, self.rebuild(view.features, view.geometry))

    def rebuild(self, features: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        """``p2 … p6``, each (1, C, h, w) float32, out of the true p3 and p5."""
        pyramid = Pyramid(geometry.channels, independent=LEVELS[:-1])
        sent = {level: features[level] for level in KEY_LEVELS}
        missing = [level for level in pyramid.independent if level not in sent]
        rebuilt = Interpolator(pyramid, {P4_OF_P3_AND_P5: self.mix}).fill(missing, sent, geometry)
        whole = with_derived(sent | rebuilt, pyramid)
        return {level: whole[level] for level in LEVELS}


def _shrunk(side: int, factor: float) -> int:
    return max(1, round(side / factor))


def _factor(word: str, text: str) -> float:
    try:
        factor = float(word)
    except ValueError:
        factor = 0.0
    if not isfinite(factor) or factor < 1:
        raise BenchmarkError(f"--cr {text}", "factors of at least 1", word or "none")
    return factor
