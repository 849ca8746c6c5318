"""Forwards to where this moved, until benchmarks/ follows."""

from keyfpn.training.codecs.levels.fit import publish

__all__ = ["publish"]
