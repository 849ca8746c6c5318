"""Under which conditions a benchmark was run: the head of every result file."""

from __future__ import annotations

from typing import Any

from keyfpn.detector.model import DetectorModel
from keyfpn.detector.split import Precision

from .bootstrap import CONFIDENCE, RESAMPLES, SEED
from .evaluation import AGREEMENT_SCORE, Figures


def conditions(model: DetectorModel, precision: Precision, pictures: int, unsplit: Figures) -> dict[str, Any]:
    """The detector, the pictures and how figures were won, fit for JSON."""
    test_size = model.cfg.INPUT
    return {
        "detector": model.name,
        "fingerprint": model.fingerprint.hex(),
        "precision": precision,
        "pictures": pictures,
        "network_size": {"short_side": test_size.MIN_SIZE_TEST, "long_side_max": test_size.MAX_SIZE_TEST},
        "unsplit": unsplit.metrics.as_dict(),
        "agreement_score": AGREEMENT_SCORE,
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
    }
