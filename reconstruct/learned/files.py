"""The learned codec in a model folder: what the edge needs, what the server needs, and what both do.

| file                 | edge | server |                                                                      |
|----------------------|------|--------|----------------------------------------------------------------------|
| codec.json           | x    | x      | the sizes of all parts                                               |
| entropy.safetensors  | x    | x      | integer tables and context model, of each latent                     |
| analysis.safetensors | x    |        | analysis and gains, float16                                          |
| synthesis.safetensors|      | x      | synthesis and inverse gains, float16                                 |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load_file, save
from torch import nn

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.latent import LatentCoder, LatentModel

from .network import CodecNetwork, Shape
from .transforms import LATENT_STRIDES
from .widths import take_common

FOLDER = "learned"
SHAPE_FILE, ENTROPY_FILE = "codec.json", "entropy.safetensors"
ANALYSIS_FILE, SYNTHESIS_FILE = "analysis.safetensors", "synthesis.safetensors"


def write_codec(folder: Path, network: CodecNetwork, models: Sequence[LatentModel]) -> None:
    """Write a codec into a model folder, each file whole or not at all; the manifest is the caller's.

    Args:
        folder: the model folder.
        network: the trained codec; the weights are written in float16.
        models: the entropy model of each latent.
    """
    codec = folder / FOLDER
    codec.mkdir(parents=True, exist_ok=True)
    with whole_file(codec / SHAPE_FILE) as file:
        file.write_text(json.dumps(asdict(network.shape), indent=2) + "\n")
    with whole_file(codec / ENTROPY_FILE) as file:
        file.write_bytes(save_arrays(_arrays(models)))
    for name, modules in _parts(network).items():
        state = nn.ModuleDict(modules).state_dict()
        with whole_file(codec / name) as file:
            file.write_bytes(save({key: value.half().contiguous().cpu() for key, value in state.items()}))


def folder_of(model: DetectorModel) -> Path:
    """The folder with a model's codec.

    Raises:
        ModelError: it has none, being a config and weights.
    """
    if model.folder is None:
        raise ModelError(f"{model.name}: a bare config with weights has no learned codec")
    return model.folder


def has_codec(folder: Path) -> bool:
    """Whether a model folder has all that a server needs of a learned codec."""
    return all((folder / FOLDER / name).is_file() for name in (SHAPE_FILE, ENTROPY_FILE, SYNTHESIS_FILE))


def read_shape(folder: Path) -> Shape:
    """Read the sizes of the codec in a model folder.

    Raises:
        ModelError: there is none, or it is malformed.
    """
    path = folder / FOLDER / SHAPE_FILE
    try:
        sizes = json.loads(path.read_bytes())
        sizes = {key: _tuples(value) for key, value in sizes.items()}
        return Shape(**sizes)
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: the model has no learned codec ({FOLDER}/{SHAPE_FILE})") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: expected the sizes of a learned codec: {error!r}") from error


def read_coder(folder: Path, shape: Shape) -> LatentCoder:
    """Read the entropy model.

    Raises:
        ModelError: the file is missing or malformed, or not of this shape.
    """
    path = folder / FOLDER / ENTROPY_FILE
    try:
        arrays = load_arrays(path)
        models = [
            LatentModel(
                stride=stride,
                groups=groups,
                tables=arrays[f"y{place}.tables"],
                bias=arrays[f"y{place}.bias"],
                kernels=tuple(arrays[f"y{place}.kernel{group}"] for group in range(len(groups))),
                coarse=arrays.get(f"y{place}.coarse"),
                prediction=arrays[f"y{place}.prediction"],
            )
            for place, (stride, groups) in enumerate(zip(LATENT_STRIDES, shape.groups, strict=True))
        ]
        return LatentCoder(models)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: expected the entropy model of a learned codec: {error!r}") from error


def read_weights(folder: Path, name: str, modules: dict[str, nn.Module]) -> None:
    """Load the weights of :data:`ANALYSIS_FILE` or :data:`SYNTHESIS_FILE` into the modules that it was written from.

    Raises:
        ModelError: the file is missing or malformed, or has other weights than the modules.
    """
    path = folder / FOLDER / name
    try:
        nn.ModuleDict(modules).load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise ModelError(f"{path}: this copy of the model has no such file; copy the whole model here") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: expected weights of the learned codec: {error}") from error


def read_network(folder: Path, network: CodecNetwork) -> list[str]:
    """Load a published codec into a network, to train it on: transforms, gains and context models.

    The published codec may be of another shape: what the network has alone, or beyond the published widths
    (:func:`.widths.take_common`), keeps its own weights.

    Returns:
        The names of the network's parameters that kept some.

    Raises:
        ModelError: the folder has no codec.
    """
    read_shape(folder)  # for its error: a folder without a codec
    kept = []
    for name, modules in _parts(network).items():
        published = _read(load_file, folder / FOLDER / name)
        own = nn.ModuleDict(modules).state_dict()
        kept += sorted(key for key in own if key not in published or not take_common(own[key], published[key]))
    arrays = _read(load_arrays, folder / FOLDER / ENTROPY_FILE)
    for place, prior in enumerate(network.priors):
        kept += [
            f"prior of y{place}: {name}"
            for name in prior.take_integers({key.removeprefix(f"y{place}."): value for key, value in arrays.items()})
        ]
    return kept


def _read(load: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any]:
    try:
        return load(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: expected a part of a learned codec: {error}") from error


def _parts(network: CodecNetwork) -> dict[str, dict[str, nn.Module]]:
    return {
        ANALYSIS_FILE: {"analysis": network.analysis, "gain": network.gains.log_gain},
        SYNTHESIS_FILE: {"synthesis": network.synthesis, "inverse": network.gains.log_inverse},
    }


def _arrays(models: Sequence[LatentModel]) -> dict[str, np.ndarray]:
    arrays = {}
    for place, model in enumerate(models):
        arrays |= {f"y{place}.{name}": getattr(model, name) for name in ("tables", "bias", "prediction")}
        arrays |= {f"y{place}.kernel{group}": kernel for group, kernel in enumerate(model.kernels)}
        if model.coarse is not None:
            arrays[f"y{place}.coarse"] = model.coarse
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
