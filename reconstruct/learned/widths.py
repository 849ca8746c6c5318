"""Weights of a codec in one of other widths: channels are counted from the first."""

from __future__ import annotations

from torch import Tensor


def take_common(own: Tensor, published: Tensor) -> bool:
    """Copy what published weights have in common with a network's own, in place.

    A codec with more channels gets all that the narrower one knows, and beyond it keeps what it started with; one with
    fewer gets the first of its channels. Kernels of another size have nothing in common.

    Returns:
        Whether all of ``own`` was copied.
    """
    if own.ndim != published.ndim or (own.ndim == 4 and own.shape[2:] != published.shape[2:]):
        return False
    common = tuple(slice(min(sides)) for sides in zip(own.shape, published.shape, strict=True))
    own[common] = published[common].to(own.dtype)
    return own[common].shape == own.shape
