"""What a detector is on disk: a config, weights and a manifest whose hash is the fingerprint in every packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from keyfpn.protocol.geometry import Geometry

from . import BUNDLED, backbone  # noqa: F401  (registers the bundled backbone with detectron2)
from .classes import FILE as CLASSES_FILE
from .classes import Classes
from .config import portable_config, read_config
from .errors import ModelError
from .manifest import Manifest
from .weights import load_weights

MODELS = Path(__file__).resolve().parent.parent / "models"
CONFIG_FILE, WEIGHTS_FILE = "config.yaml", "detector.safetensors"


@dataclass(frozen=True)
class DetectorModel:
    """A detector's files, checked; :meth:`build` makes the network."""

    name: str
    cfg: CfgNode
    weights: Path
    manifest: Manifest
    folder: Path | None
    """The published model folder, which holds codec files too; None for a bare config with weights."""

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that tell this model from any other."""
        return self.manifest.fingerprint

    @cached_property
    def classes(self) -> Classes:
        """The meaning of each class index, from the model folder or else from the config."""
        if self.folder is not None and (self.folder / CLASSES_FILE).is_file():
            return Classes.read(self.folder)
        return Classes.of_config(self.cfg)

    @property
    def class_names(self) -> Sequence[str]:
        """The name of each class index."""
        return self.classes.names

    @property
    def category_ids(self) -> Sequence[int]:
        """The COCO category id of each class index."""
        return self.classes.category_ids

    def build(self) -> GeneralizedRCNN:
        """Build the network and load its weights.

        Returns:
            The detector on ``cfg.MODEL.DEVICE``, in evaluation mode, float32, ``channels_last``.

        Raises:
            ModelError: the config is not a ``GeneralizedRCNN`` on an FPN whose p6 is a max-pool of p5.
            WeightsError: the weights do not fit.
        """
        model = build_network(self.cfg)
        load_weights(model, self.weights)
        return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def geometry(self, network_size: tuple[int, int]) -> Geometry:
        """The sizes of every level for a picture of ``network_size`` (height, width), before padding."""
        fpn = self.cfg.MODEL.FPN
        coarsest = int(fpn.IN_FEATURES[-1].removeprefix("res"))  # stride 2^5 for res5, as detectron2 pads
        return Geometry(network_size=network_size, channels=fpn.OUT_CHANNELS, size_divisibility=2**coarsest)


def build_network(cfg: CfgNode) -> GeneralizedRCNN:
    """Build a network with random weights.

    Raises:
        ModelError: the config is not of a ``GeneralizedRCNN`` on an FPN whose p6 is a max-pool of p5.
    """
    model = build_model(cfg)
    top_block = getattr(model.backbone, "top_block", None)  # an FPN's
    if not isinstance(model, GeneralizedRCNN) or not isinstance(top_block, LastLevelMaxPool):
        raise ModelError(
            "expected the config of a GeneralizedRCNN on an FPN whose p6 is a max-pool of p5, found a "
            f"{type(model).__name__} on a {type(model.backbone).__name__} with {type(top_block).__name__}"
        )
    return model


def open_detector(detector: str = BUNDLED, weights: Path | None = None, *, device: str = "cpu") -> DetectorModel:
    """Find a detector and check its files.

    Args:
        detector: a published model (its name under ``models/`` or its folder), or with ``weights`` a config: a YAML
            file or a name of detectron2's model zoo such as ``COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x``.
        weights: the weights of a bare config.
        device: where to build it, as torch names devices.

    Raises:
        ModelError: there is no such model or config, or a published file was changed.
    """
    if weights is None:
        folder = next((path for path in (Path(detector), MODELS / detector) if path.is_dir()), None)
        if folder is None:
            known = ", ".join(sorted(path.parent.name for path in MODELS.glob("*/manifest.json"))) or "none"
            raise ModelError(
                f"no model {detector!r}: give a model folder, a bundled model ({known}), or a config together with its "
                "weights"
            )
        manifest = Manifest.read(folder)
        cfg = read_config(str(folder / CONFIG_FILE), device)
        return DetectorModel(folder.resolve().name, cfg, folder / WEIGHTS_FILE, manifest, folder)
    if not weights.is_file():
        raise ModelError(f"{weights}: no such weights file")
    cfg = read_config(detector, device)
    manifest = Manifest.of_files(
        name=Path(detector).stem, contents={"config": portable_config(cfg).encode()}, files={"weights": weights}
    )
    return DetectorModel(Path(detector).stem, cfg, weights, manifest, None)
