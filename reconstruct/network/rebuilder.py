"""Missing levels by the reconstruction network, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.pyramid import Pyramid
from keyfpn.detector.torch.inference import for_inference
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.geometry import Geometry

from ..key_levels.rebuilder import LevelRebuilder
from .files import SHAPE_FILE, WEIGHTS_FILE
from .network import NetworkShape, ReconstructionNetwork


class NetworkRebuilder(LevelRebuilder):
    """The reconstruction network of a model."""

    def __init__(self, pyramid: Pyramid, network: ReconstructionNetwork, device: str = "cpu") -> None:
        """Take a network, which is made ready to compute."""
        super().__init__(pyramid, device)
        self._network = for_inference(network, device)

    def fill(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        independent = self._pyramid.independent
        rebuilt = self._network({level: sent[level] for level in independent if level in sent})
        return {level: rebuilt[level] for level in missing}


def write_network(folder: Path, network: ReconstructionNetwork) -> None:
    """Write a network into a model folder, in float16, each file whole or not at all; the manifest is the caller's."""
    (folder / SHAPE_FILE).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / SHAPE_FILE) as file:
        file.write_text(json.dumps(asdict(network.shape), indent=2) + "\n")
    with whole_file(folder / WEIGHTS_FILE) as file:
        file.write_bytes(save({name: value.half().contiguous().cpu() for name, value in network.state_dict().items()}))


def read_network(model: Model) -> ReconstructionNetwork:
    """Read the network of a model.

    Raises:
        ModelError: there is none, or its files are malformed.
    """
    shape, weights = model.read(SHAPE_FILE), model.read(WEIGHTS_FILE)
    try:
        sizes = json.loads(shape)
        network = ReconstructionNetwork(NetworkShape(int(sizes["pyramid_channels"]), tuple(sizes["hidden"])))
        network.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{model.name}, {SHAPE_FILE}", "a reconstruction network", repr(error)) from error
    return network
