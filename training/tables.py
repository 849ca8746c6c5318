"""Forwards to where this moved, until tests/conftest.py follows."""

from keyfpn.training.codecs.learned.tables import fit_entropy_models

__all__ = ["fit_entropy_models"]
