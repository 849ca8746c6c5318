"""How a pyramid comes back: the codecs and their networks."""

from . import interpolate, learned, network, raw  # noqa: F401  (they register themselves)
