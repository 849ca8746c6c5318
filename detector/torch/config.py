"""detectron2 configs, read and written."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from yaml import YAMLError

from keyfpn.protocol.detections import LabelMap

from ..errors import ModelError


def read_config(config: str, device: str = "cpu") -> CfgNode:
    """Read a detectron2 config.

    Args:
        config: a YAML file, or a zoo name with or without ``.yaml``.
        device: goes to ``MODEL.DEVICE``.

    Raises:
        ModelError: there is no such config, detectron2 refuses it, or there is no such device.
    """
    cfg = get_cfg()
    ours = Path(config).is_file()
    try:
        path = config if ours else model_zoo.get_config_file(f"{config.removesuffix('.yaml')}.yaml")
        # YAML can call anything, and some of the zoo's own files do; nobody else's may.
        cfg.merge_from_file(path, allow_unsafe=not ours)
    except RuntimeError as error:
        raise ModelError(f"config {config!r}", "a YAML file, or a name in detectron2's model zoo", "neither") from error
    except (KeyError, ValueError, TypeError, AssertionError, AttributeError, YAMLError) as error:
        raise ModelError(config, "a config that detectron2 takes", " ".join(str(error).split())) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"device {device!r}", "one that torch can compute on", reason) from error
    cfg.MODEL.WEIGHTS = ""  # a zoo config names a download
    cfg.MODEL.DEVICE = device
    cfg.freeze()
    return cfg


def portable_config(cfg: CfgNode) -> str:
    """The whole config as YAML, less what may differ from machine to machine."""
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.DEVICE, plain.MODEL.WEIGHTS, plain.OUTPUT_DIR = "cpu", "", ""
    return str(plain.dump())


def labels_of_config(cfg: CfgNode) -> LabelMap:
    """The classes of the config's test data set, where detectron2 knows it; else ``class 0 …`` with ids 1 … n."""
    count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    # Only data sets that detectron2 already knows: asking for another would register an empty one.
    known = [name for name in cfg.DATASETS.TEST if name in MetadataCatalog]
    metadata = MetadataCatalog.get(known[0]).as_dict() if known else {}
    names, index_of = metadata.get("thing_classes", []), metadata.get("thing_dataset_id_to_contiguous_id", {})
    if len(names) == len(index_of) == count:
        return LabelMap(tuple(names), tuple(sorted(index_of, key=index_of.__getitem__)))
    return LabelMap(tuple(f"class {index}" for index in range(count)), tuple(range(1, count + 1)))
