"""detectron2 configs, read and written."""

from __future__ import annotations

from pathlib import Path

import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from yaml import YAMLError

from .errors import ModelError


def read_config(config: str, device: str) -> CfgNode:
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
        raise ModelError(f"no config {config!r}: neither a YAML file nor a name in detectron2's model zoo") from error
    except (KeyError, ValueError, TypeError, AssertionError, AttributeError, YAMLError) as error:
        raise ModelError(f"{config}: detectron2 refuses this config: {' '.join(str(error).split())}") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"device {device!r}: torch cannot compute there: {reason}") from error
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
