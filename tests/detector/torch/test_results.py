import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from keyfpn.detector.torch.results import to_detections
from keyfpn.protocol.detections import LabelMap

LABELS = LabelMap(("cat", "dog"), (17, 18))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instances_become_arrays(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[1.5, 2, 30, 40], [0, 0, 5, 6]], dtype=dtype)
    instances = Instances((100, 200), pred_boxes=Boxes(boxes))
    instances.scores = torch.tensor([0.75, 0.25], dtype=dtype)
    instances.pred_classes = torch.tensor([1, 0])
    found = to_detections(instances, LABELS)
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)
    assert found.boxes.tolist() == [[1.5, 2, 30, 40], [0, 0, 5, 6]]
    assert found.scores.tolist() == [0.75, 0.25]
    assert found.names == ["dog", "cat"]
    assert found.label_map is LABELS


def test_no_instances_are_no_detections() -> None:
    instances = Instances((100, 200), pred_boxes=Boxes(torch.zeros(0, 4)))
    instances.scores, instances.pred_classes = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    found = to_detections(instances, LABELS)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
