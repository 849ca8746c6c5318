"""Which key levels a missing level is made of, and with which weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..key_levels.parameters import Mix

EVEN_MIX: Mix = (0.5, 0.5)
"""Of models without a fitted one."""


def nearest_levels(level: str, key_levels: Sequence[str], levels: Sequence[str]) -> tuple[str, ...]:
    """The key level that is nearest to ``level`` among ``levels``; two, the finer first, where two are equally near."""
    place = levels.index(level)
    distance = min(abs(levels.index(key) - place) for key in key_levels)
    return tuple(key for key in levels if key in key_levels and abs(levels.index(key) - place) == distance)


def mix_of(level: str, sources: Sequence[str], mixes: Mapping[tuple[str, str, str], Mix]) -> Mix:
    """(a, b) for a level between a finer and a coarser source."""
    finer, coarser = sources
    return mixes.get((level, finer, coarser), EVEN_MIX)
