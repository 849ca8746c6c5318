"""The cut through a detectron2 detector: backbone and key levels on the edge, RPN and ROI heads on the server.

picture ──► EdgeHalf ──► {key level: features} ──► codec, wire, codec ──► {p2 … p6} ──► ServerHalf ──► boxes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from detectron2.modeling import FPN, GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from .errors import ModelError

Precision = Literal["fp32", "bf16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Convolutions and matrix products in bfloat16 where ``precision`` says so; float32 untouched otherwise."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


class EdgeHalf(nn.Module):
    """Runs the backbone and as much of the FPN as the key levels need.

    The top-down path stops at the finest key level, and only key levels get their 3 x 3 output convolution: unless p2
    is key, its lateral and output convolutions, the dearest of the FPN, do not run.

    Besides the pyramid's own ``p2 … p6``, a codec may ask for what lies below it: ``inner2 … inner5``, the sums of the
    top-down path before the output convolutions (a pyramid level is its output convolution of the inner map);
    ``lateral2 … lateral5``, what each stage adds to that sum; and the bottom-up stages that feed the FPN,
    ``res2 … res5``.
    """

    def __init__(self, model: GeneralizedRCNN, key_levels: Sequence[str], *, precision: Precision = "fp32") -> None:
        """Take the edge's part of a detector, its modules shared, not copied.

        Args:
            model: the whole detector.
            key_levels: the levels to compute, of ``p2 … p6``, ``inner2 … inner5``, ``lateral2 … lateral5`` and
                ``res2 … res5``.
            precision: of the convolutions; features come out as float32 either way.

        Raises:
            ModelError: a level the detector's FPN has not, or none at all.
        """
        super().__init__()
        fpn = model.backbone
        stages = list(zip(_output_levels(fpn), fpn.in_features, strict=True))
        below = [name(level) for name in (_inner, _lateral) for level, _ in stages]
        levels = [*fpn.output_shape(), *below, *fpn.in_features]
        unknown = [level for level in key_levels if level not in levels]
        if unknown or not key_levels:
            raise ModelError(f"expected key levels among {', '.join(levels)}, found {', '.join(unknown) or 'none'}")
        self.key_levels = tuple(level for level in levels if level in key_levels)
        self.precision = precision
        self.register_buffer("pixel_mean", model.pixel_mean, persistent=False)
        self.register_buffer("pixel_std", model.pixel_std, persistent=False)
        self._read_from_fpn(fpn, stages)

    def _read_from_fpn(self, fpn: FPN, stages: Sequence[tuple[str, str]]) -> None:
        pyramid = [level for level, _ in stages]
        self.bottom_up = fpn.bottom_up
        self.top_block = fpn.top_block if set(self.key_levels) & (set(fpn.output_shape()) - set(pyramid)) else None
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

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """Compute the key levels of one picture.

        Args:
            picture: (3, H, W), network size, 0 to 255, in the detector's channel order.

        Returns:
            Key level to features (1, C, h, w) in float32.
        """
        normalized = (picture.to(self.pixel_mean.device) - self.pixel_mean) / self.pixel_std
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
            (features["p6"],) = self.top_block(features[self.top_block.in_feature])
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


class ServerHalf(nn.Module):
    """Finishes detection: RPN **and** ROI heads on the pyramid it is given, with no pixels at hand."""

    def __init__(self, model: GeneralizedRCNN, *, precision: Precision = "fp32") -> None:
        """Take the server's part of a detector, its modules shared, not copied."""
        super().__init__()
        self.proposal_generator = model.proposal_generator
        self.roi_heads = model.roi_heads
        self.precision = precision
        self._device = model.device

    def forward(
        self,
        features: Mapping[str, Tensor],
        network_size: tuple[int, int],
        image_size: tuple[int, int],
        roi_features: Mapping[str, Tensor] | None = None,
    ) -> Instances:
        """Detect on one picture's pyramid.

        Args:
            features: ``p2 … p6``, each (1, C, h, w).
            network_size: (height, width) of the network's input, before padding.
            image_size: (height, width) of the original picture, whose pixels the boxes are in.
            roi_features: another pyramid of the same shapes, for the ROI heads alone; no server has one. It tells what
                the RPN's part of a loss is.

        Returns:
            ``pred_boxes``, ``scores`` and ``pred_classes``, on the CPU.
        """
        pyramid = self._to_device(features)
        roi_pyramid = pyramid if roi_features is None else self._to_device(roi_features)
        # RPN and ROI heads read the sizes alone.
        images = ImageList(torch.empty(1, 0, device=self._device), [network_size])
        with torch.inference_mode(), autocast(self._device, self.precision):
            proposals, _ = self.proposal_generator(images, pyramid)
            (instances,), _ = self.roi_heads(images, roi_pyramid, proposals)
            return detector_postprocess(instances, *image_size).to("cpu")

    def _to_device(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {level: feature.to(self._device) for level, feature in features.items()}
