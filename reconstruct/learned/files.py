"""The learned codec in a model folder: what the edge needs, what the server needs, and what both do. NumPy only.

| file                 | edge | server |                                                                      |
|----------------------|------|--------|----------------------------------------------------------------------|
| codec.json           | x    | x      | the sizes of all parts                                               |
| entropy.safetensors  | x    | x      | integer tables and context model, of each latent                     |
| analysis.safetensors | x    |        | analysis and gains, float16                                          |
| synthesis.safetensors|      | x      | synthesis and inverse gains, float16                                 |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.protocol.latent import LatentCoder, LatentModel

from .shape import LATENT_STRIDES, Shape

FOLDER = "learned"
SHAPE_FILE, ENTROPY_FILE = f"{FOLDER}/codec.json", f"{FOLDER}/entropy.safetensors"
ANALYSIS_FILE, SYNTHESIS_FILE = f"{FOLDER}/analysis.safetensors", f"{FOLDER}/synthesis.safetensors"


def read_shape(model: Model) -> Shape:
    """Read the sizes of a model's codec.

    Raises:
        ModelError: there is none, or it is malformed.
    """
    data = model.read(SHAPE_FILE)
    try:
        sizes: dict[str, Any] = {key: _tuples(value) for key, value in json.loads(data).items()}
        return Shape(**sizes)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{model.name}, {SHAPE_FILE}", "the sizes of a learned codec", repr(error)) from error


def read_coder(model: Model, shape: Shape) -> LatentCoder:
    """Read the entropy model.

    Raises:
        ModelError: the file is missing or malformed, or not of this shape.
    """
    data = model.read(ENTROPY_FILE)
    try:
        arrays = load(data)
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
        coder = LatentCoder(models)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{model.name}, {ENTROPY_FILE}", "the entropy model of a learned codec", repr(error)
        ) from error
    if coder.qualities != shape.qualities:  # a packet's quality would choose gains that are not there
        raise ModelError(f"{model.name}, {ENTROPY_FILE}", f"{shape.qualities} qualities", coder.qualities)
    return coder


def read_gains(model: Model, shape: Shape) -> list[NDArray[np.float32]]:
    """Read the gains by which latents are multiplied before rounding: of each latent (qualities, channels).

    Raises:
        ModelError: the file is missing or malformed, or not of this shape.
    """
    data = model.read(ANALYSIS_FILE)
    try:
        arrays = load(data)
        # exp in float64, because float32's differs in its last bit from one machine to another.
        gains = [np.exp(arrays[f"gain.{place}"].astype(np.float64)).astype(np.float32) for place in range(3)]
    except (SafetensorError, KeyError) as error:
        raise ModelError(f"{model.name}, {ANALYSIS_FILE}", "the gains of a learned codec", repr(error)) from error
    expected = [(shape.qualities, channels) for channels in shape.latents]
    if [gain.shape for gain in gains] != expected:
        found = [gain.shape for gain in gains]
        raise ModelError(f"{model.name}, {ANALYSIS_FILE}", f"gains of shapes {expected}", found)
    return gains


def entropy_arrays(models: Sequence[LatentModel]) -> dict[str, NDArray[np.integer]]:
    """What :func:`read_coder` reads, of each latent's entropy model."""
    arrays: dict[str, NDArray[np.integer]] = {}
    for place, model in enumerate(models):
        arrays |= {f"y{place}.{name}": getattr(model, name) for name in ("tables", "bias", "prediction")}
        arrays |= {f"y{place}.kernel{group}": kernel for group, kernel in enumerate(model.kernels)}
        if model.coarse is not None:
            arrays[f"y{place}.coarse"] = model.coarse
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
