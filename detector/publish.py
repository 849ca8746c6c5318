"""Writes a detector as a model folder that edge and server open by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from keyfpn.protocol.files import whole_file

from .classes import Classes
from .config import portable_config
from .model import CONFIG_FILE, WEIGHTS_FILE, DetectorModel


def publish_detector(model: DetectorModel, folder: Path) -> None:
    """Write a detector into a folder; the caller adds what else belongs there, then the manifest.

    Args:
        model: the detector, from a model folder or from a bare config with weights.
        folder: made where it does not exist; the model's own folder is left as it is.
    """
    if model.folder is None or folder.resolve() != model.folder.resolve():
        write_detector(folder, portable_config(model.cfg), model.build().state_dict(), model.classes)


def write_detector(folder: Path, config: str, state: Mapping[str, Tensor], classes: Classes) -> None:
    """Write config, weights and classes, each whole or not at all.

    Args:
        folder: made where it does not exist.
        config: from :func:`~keyfpn.detector.config.portable_config`.
        state: the network's state dict, in the precision to be kept.
        classes: of the network's outputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / CONFIG_FILE) as file:
        file.write_text(config)
    with whole_file(folder / WEIGHTS_FILE) as file:
        file.write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))
    classes.write(folder)
