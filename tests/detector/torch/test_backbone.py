import numpy as np
import torch
from torchvision.models import mobilenet_v2

from keyfpn.detector.torch.backbone import MobileNetV2


def test_the_backbone_is_torchvisions(noise_input: np.ndarray) -> None:
    backbone = MobileNetV2(freeze_at=2)
    reference = mobilenet_v2(weights=None).features.eval()
    state = {name.split(".", 2)[2]: value for name, value in backbone.state_dict().items()}
    reference.load_state_dict({**state, **{k: v for k, v in reference.state_dict().items() if "num_batches" in k}})
    x = torch.from_numpy(noise_input)[None, :, :64, :96].float() / 255
    with torch.inference_mode():
        outputs = backbone(x)
        torch.testing.assert_close(outputs["res5"], reference(x))
    for name, shape in backbone.output_shape().items():
        assert outputs[name].shape == (1, shape.channels, 64 // shape.stride, 96 // shape.stride)
    frozen = [all(not p.requires_grad for p in stage.parameters()) for stage in backbone.stages]
    assert frozen == [True, True, False, False]
