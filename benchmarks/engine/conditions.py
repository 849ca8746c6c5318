"""Under which conditions a benchmark was run: the head of every result file."""

from __future__ import annotations

from typing import Any

from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision

from .bootstrap import CONFIDENCE, RESAMPLES, SEED
from .evaluation import AGREEMENT_SCORE, Figures


def conditions(model: Model, precision: Precision, pictures: int, unsplit: Figures) -> dict[str, Any]:
    """The detector, the pictures and how figures were won, fit for JSON."""
    sizes = model.preprocessor
    return {
        "detector": model.name,
        "fingerprint": model.fingerprint.hex(),
        "precision": precision,
        "pictures": pictures,
        "network_size": {"short_side": sizes.short_side, "long_side_max": sizes.long_side_max},
        "unsplit": unsplit.metrics.as_dict(),
        "agreement_score": AGREEMENT_SCORE,
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
    }
