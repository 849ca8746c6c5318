"""detectron2's results as plain arrays."""

from __future__ import annotations

from detectron2.structures import Instances

from keyfpn.protocol.detections import Detections, LabelMap


def to_detections(instances: Instances, labels: LabelMap) -> Detections:
    """The boxes of one picture, from the CPU.

    Args:
        instances: with ``pred_boxes``, ``scores`` and ``pred_classes``.
        labels: of the detector.
    """
    return Detections(
        instances.pred_boxes.tensor.float().numpy(),
        instances.scores.float().numpy(),
        instances.pred_classes.numpy(),
        labels,
    )
