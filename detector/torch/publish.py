"""Writes a detector as a model folder that edge and server open by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from keyfpn.protocol.detections import LabelMap
from keyfpn.protocol.files import whole_file

from ..labels import write_labels
from ..model import CONFIG_FILE, WEIGHTS_FILE, Model
from .config import portable_config, read_config
from .network import build_network


def publish_detector(model: Model, folder: Path) -> None:
    """Write a detector into a folder; the caller adds what else belongs there, then the manifest.

    Args:
        model: the detector, from a model folder or from a bare config with weights.
        folder: made where it does not exist; the model's own folder is left as it is.
    """
    if model.folder is None or folder.resolve() != model.folder.resolve():
        state = build_network(model).state_dict()
        write_detector(folder, portable_config(read_config(model.config)), state, model.labels)


def write_detector(folder: Path, config: str, state: Mapping[str, Tensor], labels: LabelMap) -> None:
    """Write config, weights and classes, each whole or not at all.

    Args:
        folder: made where it does not exist.
        config: from :func:`~keyfpn.detector.torch.config.portable_config`.
        state: the network's state dict, in the precision to be kept.
        labels: of the network's outputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / CONFIG_FILE) as file:
        file.write_text(config)
    with whole_file(folder / WEIGHTS_FILE) as file:
        file.write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))
    write_labels(labels, folder)
