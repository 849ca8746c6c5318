"""The detectron2 network of a model."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from ..errors import ModelError
from ..model import Model
from . import backbone  # noqa: F401  (registers the bundled backbone with detectron2)
from .config import read_config
from .inference import for_inference
from .weights import load_weights


def build_network(model: Model, device: str = "cpu") -> GeneralizedRCNN:
    """Build a model's network and load its weights.

    Args:
        model: whose files to read.
        device: where to compute, as torch names devices.

    Returns:
        The detector in evaluation mode, float32, ``channels_last``.

    Raises:
        ModelError: there is no such device, or the config is not of a ``GeneralizedRCNN`` on an FPN whose p6 is a
            max-pool of p5.
        WeightsError: the weights do not fit.
    """
    network = random_network(read_config(model.config, device))
    load_weights(network, model.weights)
    return for_inference(network, device)


def random_network(cfg: CfgNode) -> GeneralizedRCNN:
    """Build a network with random weights.

    Raises:
        ModelError: the config is not of a ``GeneralizedRCNN`` on an FPN whose p6 is a max-pool of p5.
    """
    network = build_model(cfg)
    top_block = getattr(network.backbone, "top_block", None)  # an FPN's
    if not isinstance(network, GeneralizedRCNN) or not isinstance(top_block, LastLevelMaxPool):
        found = f"{type(network).__name__} on a {type(network.backbone).__name__} with {type(top_block).__name__}"
        raise ModelError("detector", "a GeneralizedRCNN on an FPN whose p6 is a max-pool of p5", found)
    return network
