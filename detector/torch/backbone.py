"""The bundled detector's backbone: MobileNetV2 under a detectron2 FPN."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

# Where torchvision's `mobilenet_v2().features` is cut, and what comes out: name, channels, stride.
_STAGES = (
    (slice(0, 4), "res2", 24, 4),
    (slice(4, 7), "res3", 32, 8),
    (slice(7, 14), "res4", 96, 16),
    (slice(14, 19), "res5", 1280, 32),
)


class MobileNetV2(Backbone):  # type: ignore[misc]  # detectron2 has no types
    """MobileNetV2 (arXiv 1801.04381) as four stages, BatchNorm frozen.

    Outputs ``res2 … res5``: 24, 32, 96 and 1280 channels at strides 4, 8, 16 and 32.
    """

    def __init__(self, *, freeze_at: int = 0) -> None:
        """Build with random weights.

        Args:
            freeze_at: how many stages, from the stem on, get no gradient (0 to 4).
        """
        super().__init__()
        features = mobilenet_v2(weights=None, norm_layer=FrozenBatchNorm2d).features
        self.stages = nn.ModuleList(features[part] for part, *_ in _STAGES)
        self._out_features = [name for _, name, *_ in _STAGES]
        self._out_feature_channels = {name: channels for _, name, channels, _ in _STAGES}
        self._out_feature_strides = {name: stride for _, name, _, stride in _STAGES}
        for stage in self.stages[:freeze_at]:
            stage.requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run all stages.

        Args:
            x: normalized pictures, (N, 3, H, W), H and W multiples of 32.

        Returns:
            ``res2 … res5``, each (N, C, H / stride, W / stride).
        """
        outputs = {}
        for name, stage in zip(self._out_features, self.stages, strict=True):
            x = stage(x)
            outputs[name] = x
        return outputs


@BACKBONE_REGISTRY.register()  # type: ignore[untyped-decorator]
def build_mobilenetv2_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """detectron2 entry point, named by ``MODEL.BACKBONE.NAME``."""
    return FPN(
        bottom_up=MobileNetV2(freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
