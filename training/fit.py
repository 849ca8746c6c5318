"""Forwards to where this moved, until benchmarks/ follows."""

from keyfpn.training.codecs.levels.fit import publish_parameters as publish

__all__ = ["publish"]
