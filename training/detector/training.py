"""Trains a detector: a detectron2 ``GeneralizedRCNN`` on an FPN."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.optim import AdamW

from keyfpn.detector.coco import CocoData, match, summarize
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.autocast import autocast
from keyfpn.detector.torch.config import portable_config
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import LabelMap
from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.batches import load_batches
from keyfpn.training.engine.checkpoint import TrainingState
from keyfpn.training.engine.holdout import hold_out
from keyfpn.training.engine.loop import Figures

from .card import model_card
from .data import Batch, StepBatches, category_ids, samples
from .publish import publish
from .recipe import Recipe


class DetectorTraining:
    """The detector's training as a :class:`keyfpn.training.engine.loop.Task`."""

    shown_losses = ()

    def __init__(self, network: GeneralizedRCNN, cfg: CfgNode, data: CocoData, recipe: Recipe) -> None:
        """Prepare a network's training.

        Args:
            network: with its initial weights, from :func:`~keyfpn.training.detector.start.initial_network`.
            cfg: its config.
            data: pictures and boxes.
            recipe: how to train.

        Raises:
            PictureError: malformed annotations.
            TrainingError: the categories do not fit the config, or too few pictures.
        """
        self._cfg, self._data, self._recipe = cfg, data, recipe
        ids = category_ids(data, cfg)
        self._labels = LabelMap(tuple(data.coco.cats[number]["name"] for number in ids), tuple(ids))
        training, self._held_out = hold_out(data.pictures, recipe.holdout, lambda picture: str(picture.id))
        self._samples = samples(data, training, ids)
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
        return self._average_precision(self.state.averaged)

    def publish(self, folder: Path) -> Figures:
        """Write the averaged weights as a model folder; AP of those files on the held-out pictures."""
        name = folder.absolute().parent.name
        figures: Figures = {}

        def describe(model: Model) -> str:
            figures.update(self._average_precision(build_network(model, self._cfg.MODEL.DEVICE)))
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
            self.state.averaged,
            self.config,
            self._labels,
            folder,
            name=name,
            describe=describe,
        )
        return figures

    def _average_precision(self, network: GeneralizedRCNN) -> Figures:
        preprocessor = Preprocessor.of_config(self._cfg)
        edge = EdgeHalf(network, list(network.backbone.output_shape()), precision=self._recipe.precision)
        server = ServerHalf(network, precision=self._recipe.precision)
        results = []
        for picture in self._held_out:
            pixels = read_picture(picture.path)
            resized = preprocessor.resize(pixels)
            features = edge(preprocessor.to_input(resized))
            (instances,) = server(features, [resized.shape[:2]], [pixels.shape[:2]])
            results += to_detections(instances, self._labels).to_coco(picture.id)
        return summarize(match(self._data.coco, results, [picture.id for picture in self._held_out])).as_dict()


def _training_state(network: GeneralizedRCNN, recipe: Recipe) -> TrainingState[GeneralizedRCNN]:
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
