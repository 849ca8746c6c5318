"""What a detector's training starts from: a config, and a network with initial weights."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from torch import nn

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.model import CONFIG_FILE, MODELS
from keyfpn.detector.torch.backbone import MobileNetV2
from keyfpn.detector.torch.config import read_config
from keyfpn.detector.torch.network import random_network
from keyfpn.detector.torch.weights import load_weights, read_checkpoint


def read_training_config(config: str | None, device: str) -> CfgNode:
    """Read the config to train: a YAML file, the name of a bundled model or of the zoo, or None for the bundled model.

    Raises:
        ModelError: there is no such config, or no such device.
    """
    name = config or BUNDLED
    bundled = MODELS / name / CONFIG_FILE
    return read_config(str(bundled) if bundled.is_file() else name, device)


def initial_network(
    cfg: CfgNode, *, seed: int, init_backbone: Path | None = None, init_weights: Path | None = None
) -> GeneralizedRCNN:
    """Build a detector to train.

    Args:
        cfg: the config; ``MODEL.BACKBONE.FREEZE_AT`` says which stages get no gradient.
        seed: of the random initial weights.
        init_backbone: weights of torchvision's ``mobilenet_v2().features``; the rest stays random.
        init_weights: weights of the whole detector.

    Returns:
        The network on ``cfg.MODEL.DEVICE``, float32, ``channels_last``.

    Raises:
        ModelError: the config is not a ``GeneralizedRCNN`` on an FPN whose p6 is a max-pool of p5.
        WeightsError: weights that cannot be read, or do not fit.
    """
    torch.manual_seed(seed)
    network = random_network(cfg)
    if init_weights is not None:
        load_weights(network, init_weights)
    if init_backbone is not None:
        _load_backbone(network.backbone.bottom_up, init_backbone)
    return network.to(memory_format=torch.channels_last)


def _load_backbone(bottom_up: nn.Module, path: Path) -> None:
    if not isinstance(bottom_up, MobileNetV2):
        found = type(bottom_up).__name__
        hint = f"{path} fits no other: leave --init-backbone out, or give another --config."
        raise ModelError("config", "a MobileNetV2 backbone", found, hint)
    state = {
        name.removeprefix("features."): torch.as_tensor(value)
        for name, value in read_checkpoint(path)["model"].items()
        # torchvision's own files hold a classifier too, and counts that no frozen BatchNorm takes.
        if name.startswith("features.") and not name.endswith("num_batches_tracked")
    }
    features = nn.Sequential(*(block for stage in bottom_up.stages for block in stage.children()))
    try:
        features.load_state_dict(state)
    except RuntimeError as error:
        expected = "the arrays of torchvision's mobilenet_v2().features"
        raise WeightsError(str(path), expected, f"others: {error}") from error
