"""What a frozen detector makes of a pyramid: the measure of how much a rebuilt one lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Boxes
from torch import Tensor

from keyfpn.detector.precision import Precision
from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.autocast import autocast
from keyfpn.detector.torch.derive import with_derived
from keyfpn.detector.torch.edge_half import EdgeHalf

_BEST_PROPOSALS, _OTHER_PROPOSALS = 24, 16
"""Of each picture: the proposals of the highest objectness, and more drawn from the rest."""


@dataclass(frozen=True)
class Observation:
    """What the detector sees in pictures, nothing lost; no gradient flows into it."""

    features: dict[str, Tensor]
    """p2 … p6, inner2 … inner5 and the bottom-up stages, (N, C, h, w)."""
    objectness: Tensor
    """(N, anchors) logits of the RPN."""
    anchor_deltas: Tensor
    """(N, anchors, 4)."""
    proposals: list[Boxes]
    """Of each picture, some of the RPN's proposals."""
    class_logits: Tensor
    """(proposals of all pictures, classes + 1)."""
    box_deltas: Tensor
    """(proposals of all pictures, 4 or 4 times the classes)."""


class DetectorView:
    """A frozen detector, asked what it sees in true pyramids, and how differently it sees rebuilt ones."""

    def __init__(self, network: GeneralizedRCNN, pyramid: Pyramid, precision: Precision) -> None:
        """Take a detector whose parameters want no gradient, in evaluation mode, and what its pyramid is."""
        self._network, self._pyramid, self._precision = network, pyramid, precision
        self._edge = EdgeHalf(network, list(network.backbone.output_shape()), precision=precision)

    def observe(self, pictures: Tensor) -> Observation:
        """Look at pictures, (N, 3, H, W) float32, 0 to 255, sides multiples of the FPN's divisibility."""
        network = self._network
        normalized = (pictures.to(network.device) - network.pixel_mean) / network.pixel_std
        with torch.no_grad(), autocast(network.device, self._precision):
            features = self._edge.compute(normalized)
            objectness, deltas = self._propose(features)
            proposals = self._choose(features, objectness, deltas, pictures.shape[-2:])
            class_logits, box_deltas = self._classify(features, proposals)
        return Observation(
            features, torch.cat(objectness, 1), torch.cat(deltas, 1), proposals, class_logits, box_deltas
        )

    def _propose(self, features: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits (N, anchors) and deltas (N, anchors, 4) of each level."""
        head = self._network.proposal_generator
        logits, deltas = head.rpn_head([features[level] for level in head.in_features])
        return (
            [level.permute(0, 2, 3, 1).flatten(1).float() for level in logits],
            [level.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3).float() for level in deltas],
        )

    def _choose(
        self, features: Mapping[str, Tensor], logits: list[Tensor], deltas: list[Tensor], size: Sequence[int]
    ) -> list[Boxes]:
        head = self._network.proposal_generator
        anchors = head.anchor_generator([features[level] for level in head.in_features])
        sizes = [(int(size[0]), int(size[1]))] * logits[0].shape[0]
        proposals = head.predict_proposals(anchors, logits, deltas, sizes)
        chosen = []
        for found in proposals:
            boxes = found.proposal_boxes
            others = _BEST_PROPOSALS + torch.randperm(max(0, len(boxes) - _BEST_PROPOSALS))[:_OTHER_PROPOSALS]
            best = torch.arange(min(_BEST_PROPOSALS, len(boxes)))
            chosen.append(boxes[torch.cat([best, others]).to(boxes.device)])
        return chosen

    def _classify(self, features: Mapping[str, Tensor], proposals: list[Boxes]) -> tuple[Tensor, Tensor]:
        heads = self._network.roi_heads
        pooled = heads.box_pooler([features[level] for level in heads.box_in_features], proposals)
        class_logits, box_deltas = heads.box_predictor(heads.box_head(pooled))
        return class_logits.float(), box_deltas.float()

    def differences(self, truth: Observation, pyramid: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How differently the detector sees a rebuilt pyramid.

        Args:
            truth: of the same pictures.
            pyramid: p2 … p5.

        Returns:
            Scalars: ``rpn``, the divergence of the anchors' objectness and the distance of their deltas, weighed by
            objectness; ``box``, the divergence of the classes of the true pyramid's proposals and the distance of their
            deltas, weighed by the probability that they hold an object.
        """
        whole = with_derived(pyramid, self._pyramid)
        with autocast(self._network.device, self._precision):
            objectness, deltas = self._propose(whole)
            class_logits, box_deltas = self._classify(whole, truth.proposals)
        return {
            "rpn": _anchor_difference(truth, torch.cat(objectness, 1), torch.cat(deltas, 1)),
            "box": _proposal_difference(truth, class_logits, box_deltas),
        }


def _anchor_difference(truth: Observation, objectness: Tensor, deltas: Tensor) -> Tensor:
    probability = truth.objectness.sigmoid()
    # Nearly all anchors are background for both pyramids: what one of them takes for an object is what counts.
    weight = torch.maximum(probability, objectness.detach().sigmoid())
    entropy = F.binary_cross_entropy_with_logits(truth.objectness, probability, reduction="none")
    divergence = F.binary_cross_entropy_with_logits(objectness, probability, reduction="none") - entropy
    distance = F.smooth_l1_loss(deltas, truth.anchor_deltas, reduction="none", beta=0.1).sum(-1)
    return (weight * divergence + probability * distance).sum() / weight.sum()


def _proposal_difference(truth: Observation, class_logits: Tensor, box_deltas: Tensor) -> Tensor:
    probabilities = truth.class_logits.softmax(-1)
    divergence = F.kl_div(class_logits.log_softmax(-1), probabilities, reduction="none").sum(-1)
    distances = F.smooth_l1_loss(box_deltas, truth.box_deltas, reduction="none", beta=0.1)
    distance = torch.unflatten(distances, 1, (-1, 4)).sum(-1)
    objects = probabilities[:, :-1]
    # Each class has deltas of its own, or one set serves all.
    weight = objects if distance.shape[1] > 1 else objects.sum(1, keepdim=True)
    return divergence.mean() + (weight * distance).sum() / objects.sum().clamp_min(1.0)
