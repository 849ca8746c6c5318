"""The server's half of a detectron2 detector: all of it but the backbone, with no pixels at hand."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, GeneralizedRCNN
from detectron2.structures import Instances
from torch import Tensor, nn

from ..precision import Precision
from .autocast import autocast


class ServerHalf(nn.Module):
    """The meta-architecture itself, whose backbone is a stand-in that gives the features of the frames in hand.

    What a detector does with its pyramid is nobody's business but its own: proposals, ROI heads and post-processing run
    as detectron2 wrote them. Safe to use from several threads at once.
    """

    def __init__(self, network: GeneralizedRCNN, *, precision: Precision = "fp32") -> None:
        """Take the server's part of a detector, its modules shared, not copied.

        Args:
            network: the whole detector, which stays as it is.
            precision: of convolutions and matrix products.
        """
        super().__init__()
        self.precision = precision
        self.detector = copy.copy(network)
        # A shallow copy shares the dictionary of modules too; with one of its own, only the copy loses its backbone.
        self.detector._modules = dict(network._modules)
        self.detector.backbone = self._backbone = _StandIn(network.backbone)

    def forward(
        self,
        features: Mapping[str, Tensor],
        network_sizes: Sequence[tuple[int, int]],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[Instances]:
        """Detect on the pyramids of N pictures.

        Args:
            features: every level, (N, C, h, w).
            network_sizes: (height, width) of each network input, before padding; all give the same padded size.
            image_sizes: (height, width) of each original picture, whose pixels the boxes are in.

        Returns:
            Of each picture ``pred_boxes``, ``scores`` and ``pred_classes``, on the CPU.
        """
        device = self.detector.device
        pixel = torch.zeros(1, 1, 1, device=device)  # the heads read the sizes of pictures alone
        pictures = [
            {"image": pixel.expand(len(self.detector.pixel_mean), *network_size), "height": height, "width": width}
            for network_size, (height, width) in zip(network_sizes, image_sizes, strict=True)
        ]
        on_device = {level: feature.to(device) for level, feature in features.items()}
        with torch.inference_mode(), autocast(device, self.precision), self._backbone.giving(on_device):
            return [found["instances"].to("cpu") for found in self.detector(pictures)]


class _StandIn(Backbone):  # type: ignore[misc]  # detectron2 has no types
    """Of the kind and with the shapes of a backbone, whose output is what the calling thread has laid there."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._shapes = backbone.output_shape()
        self._divisibility = backbone.size_divisibility
        self._constraints = getattr(backbone, "padding_constraints", {})  # of a newer detectron2 than 0.6
        self._of_thread = threading.local()

    @contextmanager
    def giving(self, features: Mapping[str, Tensor]) -> Iterator[None]:
        self._of_thread.features = features
        try:
            yield
        finally:
            del self._of_thread.features

    def forward(self, _pictures: Tensor) -> dict[str, Tensor]:
        return dict(self._of_thread.features)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return dict(self._shapes)

    @property
    def size_divisibility(self) -> int:
        return int(self._divisibility)

    @property
    def padding_constraints(self) -> dict[str, int]:
        return dict(self._constraints)
