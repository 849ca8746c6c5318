"""Writes a detector as a model folder that edge and server open by name."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from .model import CONFIG_FILE, WEIGHTS_FILE, DetectorModel


def publish_detector(model: DetectorModel, folder: Path) -> None:
    """Write config and weights into a folder; the caller adds what else belongs there, then the manifest.

    Args:
        model: the detector, from a model folder or from a bare config with weights.
        folder: made where it does not exist; the model's own folder is left as it is.
    """
    if model.folder is not None and folder.resolve() == model.folder.resolve():
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write_config(model, folder)
    write_weights(model.build().state_dict(), folder)


def write_weights(state: dict[str, Tensor], folder: Path) -> None:
    """Write ``detector.safetensors``, whole or not at all.

    Args:
        state: the detector's state dict, in the precision to be kept.
        folder: the model folder.
    """
    temporary = folder / f".{WEIGHTS_FILE}.{os.getpid()}"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)
    temporary.replace(folder / WEIGHTS_FILE)


def _write_config(model: DetectorModel, folder: Path) -> None:
    temporary = folder / f".{CONFIG_FILE}.{os.getpid()}"
    temporary.write_text(model.cfg.dump())
    temporary.replace(folder / CONFIG_FILE)
