"""Runs the level study: measures what is missing, evaluates every setting, and hands over the result."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.errors import BenchmarkError
from ..engine.session import ORIGINAL, Session
from .mix import MixSearch, search_mix
from .rebuild import LEVELS, Degrade
from .result import LevelResult
from .rows import (
    STUDY_RULES,
    LevelRow,
    Measured,
    degradation_grid,
    degrade_rows,
    keyset_rows,
    mix_rows,
    own_mix,
    precision_rows,
)
from .scopes import Scope


def run_levels(
    session: Session,
    *,
    train: Session | None = None,
    degradations: Sequence[Degrade] = (),
    scope: Scope = "full",
    max_drop: float = 1.4,
) -> LevelResult:
    """Measure and evaluate, every setting in both scopes.

    Args:
        session: detector and data.
        train: the same detector on train pictures, to search the rule for p4 on; None leaves the search out.
        degradations: measure these alone; the whole study when there is none.
        scope: whose AP chooses the rule for p4.
        max_drop: AP, in points, that the cheapest key levels may lose.

    Raises:
        ModelError, PictureError: the detector or the data cannot be used.
        BenchmarkError: a detector of other levels, no room for the features, a cache of other pictures, or a worker
            that failed.
    """
    _require_levels(session)
    rows = degrade_rows(degradations or degradation_grid())
    if not degradations:
        rows += [*keyset_rows(session.model), *precision_rows(session.model)]
        rows += mix_rows([*STUDY_RULES, own_mix(session.model)])
    search = _prepare(session, rows, train, scope)
    if search is not None:
        rows += [row for row in mix_rows([search.least_squares, search.winner]) if row not in rows]
    session.measure([[ORIGINAL, *rows]])
    unsplit, *figures = session.evaluate([ORIGINAL, *rows])
    return LevelResult(
        model=session.model,
        precision=session.precision,
        pictures=len(session.data.pictures),
        raw_elements=session.mean(lambda geometry: geometry.elements(LEVELS)),
        unsplit=unsplit,
        measured=[Measured(row, session.mean(row.elements), one) for row, one in zip(rows, figures, strict=True)],
        search=search,
        max_drop=max_drop,
    )


def _prepare(session: Session, rows: Sequence[LevelRow], train: Session | None, scope: Scope) -> MixSearch | None:
    """Refuse what cannot work before there is any work, then search the rule for p4."""
    sessions = [session] if train is None else [session, train]
    for one in sessions:
        one.check()
    promised = session.reserve(session.awaiting([ORIGINAL, *rows]))
    if train is None:
        return None
    train.reserve(train.data.pictures, promised)
    return search_mix(train, scope)


def _require_levels(session: Session) -> None:
    """The study is about p2 to p6."""
    levels = session.model.pyramid.levels
    if levels != LEVELS:
        raise BenchmarkError(session.model.name, f"a detector with the levels {', '.join(LEVELS)}", ", ".join(levels))
