"""The learned codec's networks in a model folder, written and read in torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, save
from torch import Tensor, nn

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.latent import LatentModel

from .files import ANALYSIS_FILE, ENTROPY_FILE, FOLDER, SHAPE_FILE, SYNTHESIS_FILE, entropy_arrays, read_shape
from .network import CodecNetwork
from .prior import ContextPrior
from .widths import take_common


def write_codec(folder: Path, network: CodecNetwork, models: Sequence[LatentModel]) -> None:
    """Write a codec into a model folder, each file whole or not at all; the manifest is the caller's.

    Args:
        folder: the model folder.
        network: the trained codec; the weights are written in float16.
        models: the entropy model of each latent.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    with whole_file(folder / SHAPE_FILE) as file:
        file.write_text(json.dumps(asdict(network.shape), indent=2) + "\n")
    with whole_file(folder / ENTROPY_FILE) as file:
        file.write_bytes(save_arrays(entropy_arrays(models)))
    for name, modules in _parts(network).items():
        state = nn.ModuleDict(modules).state_dict()
        with whole_file(folder / name) as file:
            file.write_bytes(save({key: value.half().contiguous().cpu() for key, value in state.items()}))


def read_weights(model: Model, name: str, modules: dict[str, nn.Module]) -> None:
    """Load :data:`ANALYSIS_FILE` or :data:`SYNTHESIS_FILE` into the modules that it was written from.

    Raises:
        ModelError: the file is missing or malformed, or has other weights than the modules.
    """
    try:
        nn.ModuleDict(modules).load_state_dict(_read_tensors(model, name))
    except RuntimeError as error:
        raise ModelError(f"{model.name}, {name}", "weights of the learned codec", error) from error


def read_network(model: Model, network: CodecNetwork) -> list[str]:
    """Load a published codec into a network, to train it on: transforms, gains and context models.

    The published codec may be of another shape: what the network has alone, or beyond the published widths
    (:func:`.widths.take_common`), keeps its own weights.

    Returns:
        The names of the network's parameters that kept some.

    Raises:
        ModelError: the model has no codec.
    """
    read_shape(model)  # for its error: a model without a codec
    kept = []
    for name, modules in _parts(network).items():
        published = _read_tensors(model, name)
        own = nn.ModuleDict(modules).state_dict()
        kept += sorted(key for key in own if key not in published or not take_common(own[key], published[key]))
    try:
        arrays = load_arrays(model.read(ENTROPY_FILE))
    except SafetensorError as error:
        raise ModelError(f"{model.name}, {ENTROPY_FILE}", "a part of a learned codec", error) from error
    for place, prior in enumerate(network.priors):
        assert isinstance(prior, ContextPrior)
        kept += [
            f"prior of y{place}: {name}"
            for name in prior.take_integers({key.removeprefix(f"y{place}."): value for key, value in arrays.items()})
        ]
    return kept


def _read_tensors(model: Model, name: str) -> dict[str, Tensor]:
    try:
        return load(model.read(name))
    except SafetensorError as error:
        raise ModelError(f"{model.name}, {name}", "weights of the learned codec", error) from error


def _parts(network: CodecNetwork) -> dict[str, dict[str, nn.Module]]:
    return {
        ANALYSIS_FILE: {"analysis": network.analysis, "gain": network.gains.log_gain},
        SYNTHESIS_FILE: {"synthesis": network.synthesis, "inverse": network.gains.log_inverse},
    }
