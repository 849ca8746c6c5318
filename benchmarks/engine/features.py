"""The unsplit backbone's features of every picture, on disk, so that split rows need no backbone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from keyfpn.detector.precision import Precision
from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.derive import with_derived
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.geometry import Geometry

from .errors import BenchmarkError

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


class FeatureCache:
    """A folder with one file per picture: the independent levels, one after the other, as the backbone computed them.

    Autocast to bfloat16 gives values that bfloat16 holds exactly, so that two bytes per value lose nothing. What
    derives from these levels is made when they are read.
    """

    def __init__(self, folder: Path, precision: Precision, pyramid: Pyramid) -> None:
        """Name the folder; nothing is made yet."""
        self._folder, self._pyramid = folder, pyramid
        self._levels = pyramid.independent
        self._dtype = _DTYPES[precision]

    def file_bytes(self, geometry: Geometry) -> int:
        """The size of one picture's file."""
        return geometry.elements(self._levels) * self._dtype.itemsize

    def has(self, picture: int, geometry: Geometry) -> bool:
        """Whether a picture's features are there."""
        path = self._path(picture)
        return path.is_file() and path.stat().st_size == self.file_bytes(geometry)

    def reserve(self, pictures: Sequence[tuple[int, Geometry]], promised: int = 0) -> int:
        """Find out what the features still missing take, and that the disk has as much.

        Args:
            pictures: id and geometry of each.
            promised: bytes that something else will write to the same disk.

        Returns:
            Bytes still to be written.

        Raises:
            BenchmarkError: the disk has less free space than that.
        """
        missing = sum(self.file_bytes(geometry) for id, geometry in pictures if not self.has(id, geometry))
        self._folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._folder).free
        if missing + promised > free:
            raise BenchmarkError(
                str(self._folder),
                f"{missing / 1e9:.2f} GB of free disk for the features of {len(pictures)} pictures",
                f"{max(0, free - promised) / 1e9:.2f} GB",
                "Take fewer pictures (--limit), or another disk (--cache).",
            )
        return missing

    def write(self, picture: int, features: Mapping[str, Tensor]) -> None:
        """Keep a picture's independent levels, (1, C, h, w) float32 each; whole or not at all.

        Raises:
            ValueError: values that the stored type does not hold exactly.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path(picture)) as temporary, temporary.open("wb") as file:
            for level in self._levels:
                stored = features[level].to("cpu", self._dtype).contiguous()
                if not torch.equal(stored.float(), features[level].cpu()):
                    raise ValueError(f"{level} of picture {picture} does not fit {self._dtype}")
                file.write(stored.view(torch.uint8).numpy().data)

    def read(self, picture: int, geometry: Geometry) -> dict[str, Tensor]:
        """A picture's whole pyramid, each level (1, C, h, w) float32, from the memory-mapped file."""
        stored = torch.from_file(
            str(self._path(picture)), shared=False, size=geometry.elements(self._levels), dtype=self._dtype
        )
        shapes = [geometry.level_shape(level) for level in self._levels]
        parts = torch.split(stored, [prod(shape) for shape in shapes])
        features = {
            level: part.view(1, *shape).float() for level, part, shape in zip(self._levels, parts, shapes, strict=True)
        }
        return with_derived(features, self._pyramid)

    def _path(self, picture: int) -> Path:
        return self._folder / f"{picture}.{'bf16' if self._dtype is torch.bfloat16 else 'fp32'}"
