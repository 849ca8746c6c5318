"""The rule for p4: which (a, b) of a * up(p5) + b * down(p3) detects best on train pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.coco import Picture
from keyfpn.reconstruct.key_levels.fit import mix_equations, rounded_mix, solve_mix
from keyfpn.reconstruct.key_levels.parameters import Mix

from ..engine import measure
from ..engine.evaluation import Figures
from ..engine.measure import Source
from ..engine.session import ORIGINAL, Session
from .rebuild import P4Mix
from .rows import Measured, mix_rows
from .scopes import Scope

PICTURES = 200
"""Of the train pictures, by id."""
_STEPS = tuple(0.1 * step for step in range(-3, 4))
"""From the centre, of a and of b: the grid's 7 x 7."""


@dataclass(frozen=True)
class MixSearch:
    """Grids of (a, b) around the least squares and beyond, on train pictures."""

    pictures: int
    unsplit: Figures
    least_squares: Mix
    """What rebuilds p4 with the least squared error."""
    measured: Sequence[Measured]
    """Every point that was tried, in both scopes."""
    scope: Scope
    """Whose AP decides."""
    gain: tuple[float, float]
    """The interval of the winner's AP less that of the least squares, in the deciding scope."""

    @property
    def winner(self) -> Mix:
        """The (a, b) of the highest AP."""
        return mix_of(best(self.measured, self.scope))

    def at(self, mix: Mix, scope: Scope) -> Measured:
        """A point that was tried."""
        return next(one for one in self.measured if mix_of(one) == mix and one.row.scope == scope)


def mix_of(measured: Measured) -> Mix:
    """The (a, b) of a point that was tried."""
    assert isinstance(measured.row.how, P4Mix)
    return measured.row.how.mix


def search_mix(session: Session, scope: Scope) -> MixSearch:
    """Fit (a, b) by least squares, then measure the grid around it.

    A winner at the rim of what was tried gets a grid around itself, until there is something worse on all its sides.

    Args:
        session: train pictures; room for their features was reserved.
        scope: whose AP decides.

    Raises:
        BenchmarkError: a worker failed, or no picture has an annotation.
    """
    least_squares = fit_mix(session)
    session.measure([[ORIGINAL]])
    (unsplit,) = session.evaluate([ORIGINAL])
    measured: list[Measured] = []
    untried = grid_around(least_squares)
    while untried:
        rows = mix_rows(untried)
        session.measure([rows])
        figures = session.evaluate(rows)
        measured += [Measured(row, session.mean(row.elements), one) for row, one in zip(rows, figures, strict=True)]
        untried = beyond({mix_of(one) for one in measured}, mix_of(best(measured, scope)))
    (centre,) = (one.row for one in measured if one.row.scope == scope and mix_of(one) == least_squares)
    (against_centre,) = session.evaluate([best(measured, scope).row], reference=centre)
    gain = against_centre.intervals["AP"]
    return MixSearch(len(session.data.pictures), unsplit, least_squares, measured, scope, gain)


def best(measured: Sequence[Measured], scope: Scope) -> Measured:
    """The highest AP in a scope."""
    return max((one for one in measured if one.row.scope == scope), key=lambda one: one.ap)


def grid_around(centre: Mix) -> list[Mix]:
    """7 x 7 points, 0.1 apart."""
    a, b = centre
    return [rounded_mix(a + up, b + down) for up in _STEPS for down in _STEPS]


def beyond(tried: Collection[Mix], winner: Mix) -> list[Mix]:
    """What is still to be tried: nothing where the winner has a tried point on all sides, or else a grid around it."""
    a, b = winner
    sides = [rounded_mix(a + up, b + down) for up in (-0.1, 0, 0.1) for down in (-0.1, 0, 0.1)]
    if all(side in tried for side in sides):
        return []
    return [mix for mix in grid_around(winner) if mix not in tried]


def fit_mix(session: Session) -> Mix:
    """(a, b) of least squared error in p4, every picture weighing alike."""
    return solve_mix(sum(session.map(p4_equations, "least squares"), start=np.zeros((2, 3))))


def p4_equations(source: Source, picture: Picture) -> NDArray[np.float64]:
    """A picture's part of the least squares; in a worker process."""
    features = measure.features(source, picture)
    return mix_equations(features["p4"], features["p3"], features["p5"])
