"""Remote inference, the baseline of every result here: send the picture itself, as a common image codec packs it.

original ──► resize once, to 1, 0.75 or 0.5 of the network size ──► encode ──► bytes
bytes ──► decode ──► scale up to the network size, where it is smaller ──► the detector, which resizes no more

Encoders work as one who wants few bytes sets them: JPEG optimized and progressive, WebP method 6, AVIF speed 4. They
see pixels only, so that no byte goes to EXIF or a colour profile.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from keyfpn.detector.prepare import read_picture

from ..engine.errors import BenchmarkError
from ..engine.view import View
from ..engine.way import Sent

NETWORK = "network"
SIZES: Mapping[str, float] = MappingProxyType({NETWORK: 1.0, "0.75": 0.75, "0.5": 0.5})
"""Size name to the factor of both sides against the network size."""

_ENCODERS: Mapping[str, Mapping[str, int | bool]] = MappingProxyType(
    {
        "jpeg": {"optimize": True, "progressive": True},
        "webp": {"method": 6},
        "avif": {"speed": 4, "max_threads": 1},
    }
)
_SUBSAMPLINGS = {"jpeg": ("4:2:0", "4:4:4"), "webp": ("4:2:0",), "avif": ("4:2:0",)}  # WebP knows no other
# Spread so that the AP of each line runs from nearly the detector's own to several points below.
_QUALITIES = {
    "jpeg": (30, 40, 50, 60, 70, 80, 88, 95),
    "webp": (15, 30, 45, 60, 70, 80, 88, 95),
    "avif": (30, 38, 46, 54, 62, 70, 80, 90),
}


@dataclass(frozen=True)
class Baseline:
    """One way to send a picture itself."""

    family: str
    """``jpeg``, ``webp`` or ``avif``."""
    quality: int
    """As Pillow's encoder takes it, 0 to 100; scales of different families have nothing to do with each other."""
    subsampling: str
    """Of chroma: ``4:2:0`` or ``4:4:4``."""
    size: str
    """One of :data:`SIZES`."""

    reads_features: ClassVar[bool] = False

    @property
    def key(self) -> str:
        return f"{self.family}:quality={self.quality},subsampling={self.subsampling},size={self.size}"

    def send(self, view: View) -> Sent:
        data = self.encode(self.shrink(view.original, view.network_size))
        return Sent(len(data), view.detector.backbone(receive(data, view.network_size)))

    def encode(self, picture: NDArray[np.uint8]) -> bytes:
        """Compress (H, W, 3) uint8 RGB."""
        buffer = io.BytesIO()
        options: dict[str, int | bool | str] = dict(_ENCODERS[self.family])
        if len(_SUBSAMPLINGS[self.family]) > 1 or self.family == "avif":
            options["subsampling"] = self.subsampling
        Image.fromarray(picture).save(buffer, self.family, quality=self.quality, **options)
        return buffer.getvalue()

    def shrink(self, picture: NDArray[np.uint8], network_size: tuple[int, int]) -> NDArray[np.uint8]:
        """What the sender encodes of a picture whose network size is (height, width)."""
        height, width = (max(1, round(side * SIZES[self.size])) for side in network_size)
        return resize(picture, (height, width))


def resize(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to (height, width) with PIL's bilinear filter, as the detector's test transform does."""
    if picture.shape[:2] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))


def receive(data: bytes, network_size: tuple[int, int]) -> NDArray[np.uint8]:
    """What the server's detector sees of an encoded picture: (H, W, 3) uint8 RGB of the network size."""
    return resize(read_picture(data), network_size)


def default_baselines(sizes: Sequence[str] = tuple(SIZES)) -> list[Baseline]:
    """Every family, subsampling and quality of the study.

    Args:
        sizes: of :data:`SIZES`.

    Raises:
        BenchmarkError: no such size, or this Pillow cannot encode one of the families.
    """
    unknown = [size for size in sizes if size not in SIZES]
    if unknown:
        raise BenchmarkError("sizes of sent pictures", f"some of {', '.join(SIZES)}", ", ".join(unknown))
    for family in _ENCODERS:
        if not features.check("jpg" if family == "jpeg" else family):
            hint = "Install a wheel of Pillow 11.3 or newer."
            raise BenchmarkError("package Pillow", f"one that writes {family.upper()}", "one that does not", hint)
    return [
        Baseline(family, quality, subsampling, size)
        for family, subsamplings in _SUBSAMPLINGS.items()
        for subsampling in subsamplings
        for size in sizes
        for quality in _QUALITIES[family]
    ]
