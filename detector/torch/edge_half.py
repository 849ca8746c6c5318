"""The edge's half of a detectron2 detector: the backbone, and as much of the FPN as the key levels need.

picture ──► EdgeHalf ──► {key level: features} ──► codec, wire, codec ──► {p2 … p6} ──► ServerHalf ──► boxes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.modeling import FPN, GeneralizedRCNN
from detectron2.structures import ImageList
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError
from ..precision import Precision
from .autocast import autocast


class EdgeHalf(nn.Module):
    """Runs the backbone and as much of the FPN as the key levels need.

    The top-down path stops at the finest key level, and only key levels get their 3 x 3 output convolution: unless p2
    is key, its lateral and output convolutions, which cost more than all others of the FPN, do not run.

    Besides the pyramid's own ``p2 … p6``, a codec may ask for what lies below it: ``inner2 … inner5``, the sums of the
    top-down path before the output convolutions (a pyramid level is its output convolution of the inner map);
    ``lateral2 … lateral5``, what each stage adds to that sum; and the bottom-up stages that feed the FPN,
    ``res2 … res5``.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: GeneralizedRCNN, key_levels: Sequence[str], *, precision: Precision = "fp32") -> None:
        """Take the edge's part of a detector, its modules shared, not copied.

        Args:
            model: the whole detector.
            key_levels: the levels to compute, of ``p2 … p6``, ``inner2 … inner5``, ``lateral2 … lateral5`` and
                ``res2 … res5``.
            precision: of the convolutions; features come out as float32 either way.

        Raises:
            ModelError: a level that the detector's FPN does not have, or none at all.
        """
        super().__init__()
        fpn = model.backbone
        stages = list(zip(_output_levels(fpn), fpn.in_features, strict=True))
        below = [name(level) for name in (_inner, _lateral) for level, _ in stages]
        levels = [*fpn.output_shape(), *below, *fpn.in_features]
        unknown = [level for level in key_levels if level not in levels]
        if unknown or not key_levels:
            raise ModelError("key levels", f"some of {', '.join(levels)}", ", ".join(unknown) or "none")
        self.key_levels = tuple(level for level in levels if level in key_levels)
        self.precision = precision
        self.register_buffer("pixel_mean", model.pixel_mean, persistent=False)
        self.register_buffer("pixel_std", model.pixel_std, persistent=False)
        self._read_from_fpn(fpn, stages)

    def _read_from_fpn(self, fpn: FPN, stages: Sequence[tuple[str, str]]) -> None:
        pyramid = [level for level, _ in stages]
        self.bottom_up = fpn.bottom_up
        self._derived = [level for level in fpn.output_shape() if level not in pyramid]
        self.top_block = fpn.top_block if set(self.key_levels) & set(self._derived) else None
        computed = {level for level in pyramid if level in self.key_levels}
        if self.top_block is not None:
            computed.add(fpn.top_block.in_feature)
        needed = computed | {level for level in pyramid if {_inner(level), _lateral(level)} & set(self.key_levels)}
        finest = min((pyramid.index(level) for level in needed), default=len(pyramid))
        # Coarse to fine, as the top-down path runs.
        self._path = list(stages[finest:])[::-1]
        self.laterals = nn.ModuleDict({level: getattr(fpn, f"fpn_lateral{level[1:]}") for level, _ in self._path})
        self.outputs = nn.ModuleDict(
            {level: getattr(fpn, f"fpn_output{level[1:]}") for level, _ in self._path if level in computed}
        )
        self._average = fpn._fuse_type == "avg"
        self._divisibility = fpn.size_divisibility

    def forward(self, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Compute the key levels of one picture.

        Args:
            picture: (3, H, W) uint8, network size, in the detector's channel order.

        Returns:
            Key level to features (1, C, h, w) in float32.
        """
        pixels = torch.as_tensor(picture).to(self.pixel_mean.device)
        normalized = (pixels - self.pixel_mean) / self.pixel_std
        padded = ImageList.from_tensors([normalized], self._divisibility).tensor
        with torch.inference_mode():
            features = self.compute(padded)
        return {level: features[level].float() for level in self.key_levels}

    def compute(self, normalized: Tensor) -> dict[str, Tensor]:
        """Run on a batch, with a gradient where one is wanted.

        Args:
            normalized: (N, 3, H, W), less the pixel mean, by the pixel deviation; sides padded to the FPN's multiple.

        Returns:
            The key levels and all that was computed on the way to them, (N, C, h, w), in the precision's own type.
        """
        with autocast(normalized.device, self.precision):
            bottom_up = self.bottom_up(normalized.contiguous(memory_format=torch.channels_last))
            return self._top_down(bottom_up)

    def _top_down(self, bottom_up: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # detectron2's FPN.forward, less what no key level needs.
        features = dict(bottom_up)
        inner: Tensor | None = None
        for level, name in self._path:
            lateral = self.laterals[level](bottom_up[name])
            if inner is None:
                inner = lateral
            else:
                above = F.interpolate(inner, scale_factor=2.0, mode="nearest")
                inner = lateral + above
                if self._average:
                    inner = inner / 2
                    lateral = inner - above
            features[_inner(level)], features[_lateral(level)] = inner, lateral
            if level in self.outputs:
                features[level] = self.outputs[level](inner)
        if self.top_block is not None:
            features |= zip(self._derived, self.top_block(features[self.top_block.in_feature]), strict=True)
        return features


def _output_levels(fpn: FPN) -> list[str]:
    """The levels that the FPN makes itself, fine to coarse; its top block makes the others."""
    return [level for level in fpn.output_shape() if f"fpn_output{level[1:]}" in dict(fpn.named_children())]


def _inner(level: str) -> str:
    """The name of a pyramid level before its output convolution."""
    return f"inner{level[1:]}"


def _lateral(level: str) -> str:
    """The name of what a stage adds to the inner map above it."""
    return f"lateral{level[1:]}"
