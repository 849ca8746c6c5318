"""The pyramid out of key levels, in torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.derive import with_derived
from keyfpn.protocol.geometry import Geometry

from ..codec import EdgeAnalysis, Rebuilder, Unpacked, check_batch


class LevelsThemselves(EdgeAnalysis):
    """The encoder's inputs are levels of the pyramid, as the backbone gives them."""

    def __init__(self, levels: tuple[str, ...]) -> None:
        """Take the key levels."""
        self._levels = levels

    def analyze(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {level: features[level] for level in self._levels}


class LevelRebuilder(Rebuilder):
    """Levels that were sent stay as they came; what follows exactly from them is made so; the rest is filled in."""

    def __init__(self, pyramid: Pyramid, device: str) -> None:
        """Take the pyramid to be rebuilt, and where."""
        self._pyramid, self._device = pyramid, device

    def rebuild(self, batch: Sequence[Unpacked]) -> dict[str, Tensor]:
        check_batch(batch)
        sent = {level: _stacked([unpacked.arrays[level] for unpacked in batch]) for level in batch[0].arrays}
        sent = {level: values.to(self._device) for level, values in sent.items()}
        missing = [level for level in self._pyramid.independent if level not in sent]
        with torch.inference_mode():
            filled = self.fill(missing, sent, batch[0].geometry) if missing else {}
            whole = with_derived(sent | filled, self._pyramid)
        return {level: whole[level] for level in self._pyramid.levels}

    @abstractmethod
    def fill(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        """Make the independent levels that were not sent, (N, C, h, w) each, out of those that were."""


def _stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    tensors = [torch.from_numpy(array) for array in arrays]
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
