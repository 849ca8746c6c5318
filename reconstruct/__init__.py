"""How a pyramid travels and comes back: the codecs. What encodes and unpacks needs NumPy only; what rebuilds, torch."""
