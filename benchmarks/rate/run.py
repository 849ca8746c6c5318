"""The rate-AP benchmark: split inference with every codec setting, beside pictures that are sent."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.session import Session
from .baselines import NETWORK
from .result import RateResult
from .rows import RateRow, baseline_rows, codec_rows, original_row


def run_rate(session: Session, codecs: Sequence[str], sizes: Sequence[str]) -> RateResult:
    """Measure what is missing, and evaluate every row.

    Args:
        session: detector and data.
        codecs: settings of the split rows.
        sizes: at which the baselines are sent.

    Raises:
        ModelError, PictureError: the detector or the data cannot be used.
        ConfigurationError: codec settings that cannot work.
        BenchmarkError: no room for the features, a cache of other pictures, or a worker that failed.
    """
    rows = [original_row(session.data.pictures), *baseline_rows(sizes), *codec_rows(codecs, session.model)]
    session.check()
    session.reserve(session.awaiting(rows))
    session.measure(_stages(rows))
    figures = session.evaluate(rows)
    raw_bytes = session.mean(lambda geometry: geometry.raw_bytes())
    return RateResult(session.model, session.precision, len(session.data.pictures), raw_bytes, rows, figures)


def _stages(rows: Sequence[RateRow]) -> list[list[RateRow]]:
    """What tells most first, on all pictures: features, the original file and pictures of the network size."""
    first = [row for row in rows if row.size in (None, "original", NETWORK)]
    return [first, [row for row in rows if row not in first]]
