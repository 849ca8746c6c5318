"""Trains a detector: a detectron2 ``GeneralizedRCNN`` on an FPN."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from detectron2.utils.events import EventStorage
from torch import Tensor, nn
from torch.optim import AdamW

from keyfpn.detector import BUNDLED
from keyfpn.detector.torch.backbone import MobileNetV2
from keyfpn.protocol.detections import LabelMap
from keyfpn.detector.coco import CocoData, match, summarize
from keyfpn.detector.torch.config import portable_config, read_config
from keyfpn.protocol.detections import Detections
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.model import CONFIG_FILE, MODELS, Model, build_network
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.detector.torch.precision import autocast
from keyfpn.detector.torch.weights import load_weights, read_checkpoint
from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.checkpoint import TrainingState
from keyfpn.training.engine.loop import Figures

from .card import model_card
from .data import Batch, StepBatches, category_ids, hold_out, load_batches, samples
from .publish import publish
from .recipe import Recipe


class DetectorTraining:
    """The detector's training as a :class:`keyfpn.training.engine.loop.Task`."""

    def __init__(self, network: GeneralizedRCNN, cfg: CfgNode, data: CocoData, recipe: Recipe) -> None:
        """Prepare a network's training.

        Args:
            network: with its initial weights, from :func:`initial_network`.
            cfg: its config.
            data: pictures and boxes.
            recipe: how to train.

        Raises:
            PictureError: malformed annotations.
            TrainingError: the categories do not fit the config, or too few pictures.
        """
        self._cfg, self._data, self._recipe = cfg, data, recipe
        self._category_ids = category_ids(data, cfg)
        training, self._held_out = hold_out(data.pictures, recipe.holdout, lambda picture: str(picture.id))
        self._samples = samples(data, training, self._category_ids)
        self.config = portable_config(cfg)
        """The config that is published, as YAML."""
        self._batches = StepBatches(self._samples, cfg, recipe)
        self.state = _training_state(network.train(), recipe)

    def batches(self, steps: range) -> Generator[Batch]:
        """The augmented batches of steps."""
        return load_batches(self._batches, steps)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the RPN and the ROI heads, as detectron2 names them."""
        network = self.state.model
        with EventStorage(self.state.step), autocast(network.device, self._recipe.precision):
            return {name: loss.float() for name, loss in network(batch).items()}

    def evaluate(self) -> Figures:
        """AP of the averaged weights on the held-out pictures."""
        return self._average_precision(self.state.average.module.eval())

    def publish(self, folder: Path) -> Figures:
        """Write the averaged weights as a model folder; AP of those files on the held-out pictures."""
        name = folder.absolute().parent.name
        figures: Figures = {}

        def describe(model: Model) -> str:
            figures.update(self._average_precision(build_network(model)))
            return model_card(
                name,
                self._recipe,
                steps=self.state.step,
                seconds=self.state.seconds,
                training_pictures=len(self._samples),
                held_out_pictures=len(self._held_out),
                figures=figures,
            )

        publish(
            self.state.average.module,
            self.config,
            LabelMap([self._data.coco.cats[number]["name"] for number in self._category_ids], self._category_ids),
            folder,
            name=name,
            device=self._cfg.MODEL.DEVICE,
            describe=describe,
        )
        return figures

    def _average_precision(self, network: GeneralizedRCNN) -> Figures:
        preprocessor = Preprocessor(self._cfg)
        edge = EdgeHalf(network, list(network.backbone.output_shape()), precision=self._recipe.precision)
        server = ServerHalf(network, precision=self._recipe.precision)
        results = []
        for picture in self._held_out:
            pixels = read_picture(picture.path)
            resized = preprocessor.resize(pixels)
            instances = server(edge(preprocessor.to_input(resized)), resized.shape[:2], pixels.shape[:2])
            results += Detections.from_instances(instances).to_coco(picture.id, self._category_ids)
        return summarize(match(self._data.coco, results, [picture.id for picture in self._held_out])).as_dict()


def read_training_config(config: str | None, device: str) -> CfgNode:
    """Read the config to train: a YAML file, the name of a bundled model or of the zoo, or None for the bundled model.

    Raises:
        ModelError: there is no such config, or no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("expected a CUDA device, torch finds none: train with --device cpu")
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
    network = build_network(cfg)
    if init_weights is not None:
        load_weights(network, init_weights)
    if init_backbone is not None:
        _load_backbone(network.backbone.bottom_up, init_backbone)
    return network.to(memory_format=torch.channels_last)


def _load_backbone(bottom_up: nn.Module, path: Path) -> None:
    if not isinstance(bottom_up, MobileNetV2):
        raise ModelError(f"expected a config with a MobileNetV2 backbone for {path}, found {type(bottom_up).__name__}")
    state = {
        name.removeprefix("features."): torch.as_tensor(value)
        for name, value in read_checkpoint(path)["model"].items()
        # torchvision's own files hold a classifier too, and counts that a frozen BatchNorm has not.
        if name.startswith("features.") and not name.endswith("num_batches_tracked")
    }
    features = nn.Sequential(*(block for stage in bottom_up.stages for block in stage))
    try:
        features.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path}: expected the arrays of torchvision's mobilenet_v2().features: {error}") from error


def _training_state(network: GeneralizedRCNN, recipe: Recipe) -> TrainingState:
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    backbone = [name for name in trained if name.startswith("backbone.bottom_up.")]
    groups = [
        {"params": [trained[name] for name in trained if name not in backbone], "lr": recipe.head_learning_rate},
        {"params": [trained[name] for name in backbone], "lr": recipe.backbone_learning_rate},
    ]
    optimizer = AdamW(groups, weight_decay=recipe.weight_decay)
    return TrainingState(
        model=network,
        average=moving_average(network, recipe.average_decay),
        optimizer=optimizer,
        learning_rate=recipe.learning_rate_at,
        clip_norm=recipe.clip_norm,
    )
