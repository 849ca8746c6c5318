"""What a detector is on disk: a config, weights and a manifest whose hash is the fingerprint in every packet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.modeling import FPN, GeneralizedRCNN, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from protocol.geometry import Geometry

from . import backbone  # noqa: F401  (registers the bundled backbone with detectron2)
from .errors import ModelError
from .manifest import Manifest
from .weights import load_weights

MODELS = Path(__file__).resolve().parent.parent / "models"
BUNDLED = "mobilenetv2_fpn128_coco80"
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
    def class_names(self) -> list[str]:
        """The name of each class index; ``class 0 …`` where the config's test data set is unknown to detectron2."""
        names = self._metadata.get("thing_classes")
        count = self.cfg.MODEL.ROI_HEADS.NUM_CLASSES
        return list(names) if names and len(names) == count else [f"class {index}" for index in range(count)]

    @cached_property
    def category_ids(self) -> list[int]:
        """The COCO category id of each class index; 1 … n where the config's test data set is unknown to detectron2."""
        mapping = self._metadata.get("thing_dataset_id_to_contiguous_id") or {}
        count = self.cfg.MODEL.ROI_HEADS.NUM_CLASSES
        return sorted(mapping, key=mapping.__getitem__) if len(mapping) == count else list(range(1, count + 1))

    @property
    def _metadata(self) -> dict:
        # Only data sets that detectron2 already knows: asking for another would register an empty one.
        names = [name for name in self.cfg.DATASETS.TEST if name in MetadataCatalog]
        return MetadataCatalog.get(names[0]).as_dict() if names else {}

    def build(self) -> GeneralizedRCNN:
        """Build the network and load its weights.

        Returns:
            The detector on ``cfg.MODEL.DEVICE``, in evaluation mode, float32, ``channels_last``.

        Raises:
            ModelError: the config is not a ``GeneralizedRCNN`` on an FPN whose p6 is a max-pool of p5.
            WeightsError: the weights do not fit.
        """
        model = build_model(self.cfg)
        fpn = getattr(model, "backbone", None)
        if not isinstance(model, GeneralizedRCNN) or not isinstance(fpn, FPN):
            raise ModelError(
                f"{self.name}: expected a GeneralizedRCNN on an FPN, found {type(model).__name__} on a "
                f"{type(fpn).__name__}"
            )
        if not isinstance(fpn.top_block, LastLevelMaxPool):
            raise ModelError(f"{self.name}: expected p6 to be a max-pool of p5, found {type(fpn.top_block).__name__}")
        load_weights(model, self.weights)
        return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def geometry(self, network_size: tuple[int, int]) -> Geometry:
        """The sizes of every level for a picture of ``network_size`` (height, width), before padding."""
        fpn = self.cfg.MODEL.FPN
        coarsest = int(fpn.IN_FEATURES[-1].removeprefix("res"))  # stride 2^5 for res5, as detectron2 pads
        return Geometry(network_size=network_size, channels=fpn.OUT_CHANNELS, size_divisibility=2**coarsest)


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
        name=Path(detector).stem, contents={"config": _portable(cfg).encode()}, files={"weights": weights}
    )
    return DetectorModel(Path(detector).stem, cfg, weights, manifest, None)


def read_config(config: str, device: str) -> CfgNode:
    """Read a detectron2 config.

    Args:
        config: a YAML file, or a zoo name with or without ``.yaml``.
        device: goes to ``MODEL.DEVICE``.

    Raises:
        ModelError: there is no such config, or detectron2 refuses it.
    """
    cfg = get_cfg()
    try:
        path = config if Path(config).is_file() else model_zoo.get_config_file(f"{config.removesuffix('.yaml')}.yaml")
        cfg.merge_from_file(path)
    except RuntimeError as error:
        raise ModelError(f"no config {config!r}: neither a YAML file nor a name in detectron2's model zoo") from error
    except (KeyError, ValueError, AssertionError) as error:
        raise ModelError(f"{config}: detectron2 refuses this config: {error}") from error
    cfg.MODEL.WEIGHTS = ""  # a zoo config names a download
    cfg.MODEL.DEVICE = device
    cfg.freeze()
    return cfg


def _portable(cfg: CfgNode) -> str:
    """The config as text, less what may differ between the two ends."""
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.DEVICE, plain.MODEL.WEIGHTS, plain.OUTPUT_DIR = "", "", ""
    return plain.dump()
