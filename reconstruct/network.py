"""Codec `network`: missing levels by a trained network in place of a rule."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from typing_extensions import Self

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.packet import Packet

from .codec import register
from .layers import REBUILT, ResidualBlock, Standardize, TopDown
from .levels import LevelCodec, last_level_max_pool
from .settings import CodecSettings

FOLDER = "network"
SHAPE_FILE, WEIGHTS_FILE = "network.json", "network.safetensors"


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of a reconstruction network."""

    pyramid_channels: int
    hidden: tuple[int, int, int, int] = (128, 128, 96, 64)
    """Channels at strides 32, 16, 8 and 4."""


class ReconstructionNetwork(nn.Module):
    """Rebuilds p2 … p5 from any of them.

        p2 ─► stride 8 ─┐
        p3 ──────────► + ─► stride 16 ─┐
        p4 ─────────────────────────► + ─► stride 32 ─┐
        p5 ────────────────────────────────────────► + ──► top-down: inner maps, output convolutions

    One network serves all key sets: a level that is not key is zeroed, and a flag says so.
    """

    def __init__(self, shape: NetworkShape) -> None:
        """Build with random weights."""
        super().__init__()
        self.shape = shape
        at32, at16, at8, _ = shape.hidden
        channels = shape.pyramid_channels
        self.standardize = nn.ModuleDict({level: Standardize(channels) for level in REBUILT})
        self.enter = nn.ModuleDict(
            {
                "p2": nn.Conv2d(channels, at8, 3, stride=2, padding=1),
                "p3": nn.Conv2d(channels, at8, 3, padding=1),
                "p4": nn.Conv2d(channels, at16, 3, padding=1),
                "p5": nn.Conv2d(channels, at32, 3, padding=1),
            }
        )
        self.flags = nn.Linear(len(REBUILT), at8 + at16 + at32)
        self.down16 = nn.Conv2d(at8, at16, 3, stride=2, padding=1)
        self.down32 = nn.Conv2d(at16, at32, 3, stride=2, padding=1)
        self.block8, self.block16, self.block32 = (ResidualBlock(width) for width in (at8, at16, at32))
        self.top_down = TopDown(channels, shape.hidden)

    def forward(self, sent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rebuild the pyramid.

        Args:
            sent: the key levels of p2 … p5, at least one, (N, C, h, w) each; sides multiples of the coarsest stride.

        Returns:
            p2 … p5, those that were sent included, as the network sees them.
        """
        some = next(iter(sent.values()))
        flags = torch.tensor([float(level in sent) for level in REBUILT], device=some.device)
        at32, at16, at8, _ = self.shape.hidden
        flag8, flag16, flag32 = self.flags(flags).view(1, -1, 1, 1).split([at8, at16, at32], 1)
        height, width = _sides_at_8(sent)
        entered = {level: self.enter[level](self.standardize[level](x)) for level, x in sent.items()}
        h8 = flag8.expand(some.shape[0], -1, height, width) + entered.get("p2", 0) + entered.get("p3", 0)
        h8 = self.block8(F.relu(h8))
        h16 = self.block16(F.relu(self.down16(h8) + flag16 + entered.get("p4", 0)))
        h32 = self.block32(F.relu(self.down32(h16) + flag32 + entered.get("p5", 0)))
        return self.top_down([h32, h16, h8, None])


def _sides_at_8(sent: Mapping[str, Tensor]) -> tuple[int, int]:
    level, feature = next(iter(sent.items()))
    height, width = feature.shape[2:]
    shift = int(level[1:]) - 3
    return (height << shift, width << shift) if shift > 0 else (height >> -shift, width >> -shift)


@register
class NetworkCodec(LevelCodec):
    """Rebuilds what was not sent by the reconstruction network of the model.

        p3, p5 ──► sent ──► network ──► p2, p4; p6 by max-pool of p5

    Levels that were sent stay as they came. Options as for ``interpolate``.
    """

    name = "network"
    files = (*LevelCodec.files, FOLDER)
    default_levels = "p3+p5"
    _files: tuple[Path, bytes]

    @classmethod
    def from_settings(cls, settings: CodecSettings, model: DetectorModel) -> Self:
        if not cls.serves(model):
            raise ConfigurationError(
                f"codec {cls.name}: model {model.name} has no reconstruction network; train one with keyfpn-train "
                "network"
            )
        codec = super().from_settings(settings, model)
        if not set(codec.key_levels) & set(REBUILT):
            raise ConfigurationError(f"codec {cls.name}: expected a level among {', '.join(REBUILT)}, found p6 alone")
        return codec._of(model)

    @classmethod
    def from_packet(cls, packet: Packet, model: DetectorModel) -> Self:
        codec = super().from_packet(packet, model)
        if not set(codec.key_levels) & set(REBUILT):
            raise InvalidField(f"levels of a {cls.name} packet", f"one of {', '.join(REBUILT)}", "p6 alone")
        return codec._of(model)

    def _of(self, model: DetectorModel) -> Self:
        assert model.folder is not None  # serves
        self._files = (model.folder, model.fingerprint)
        return self

    @classmethod
    def serves(cls, model: DetectorModel) -> bool:
        return model.folder is not None and (model.folder / FOLDER / WEIGHTS_FILE).is_file()

    def rebuild(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        network = _network(*self._files)
        with torch.inference_mode():
            rebuilt = network({level: sent[level] for level in REBUILT if level in sent})
            return {level: rebuilt[level] for level in missing if level != "p6"} | (
                {"p6": last_level_max_pool(rebuilt["p5"])} if "p6" in missing else {}
            )

    def rule(self, level: str) -> str:
        return "max-pool of the rebuilt p5" if level == "p6" else f"network from {'+'.join(self.key_levels)}"


def write_network(folder: Path, network: ReconstructionNetwork) -> None:
    """Write a network into a model folder, in float16, each file whole or not at all; the manifest is the caller's."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    with whole_file(folder / FOLDER / SHAPE_FILE) as file:
        file.write_text(json.dumps(asdict(network.shape), indent=2) + "\n")
    with whole_file(folder / FOLDER / WEIGHTS_FILE) as file:
        file.write_bytes(save({name: value.half().contiguous().cpu() for name, value in network.state_dict().items()}))


def read_network(folder: Path) -> ReconstructionNetwork:
    """Read the network of a model folder, in evaluation mode.

    Raises:
        ModelError: there is none, or its files are malformed.
    """
    path = folder / FOLDER
    try:
        sizes = json.loads((path / SHAPE_FILE).read_bytes())
        network = ReconstructionNetwork(NetworkShape(int(sizes["pyramid_channels"]), tuple(sizes["hidden"])))
        network.load_state_dict(load_file(path / WEIGHTS_FILE))
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a reconstruction network: {error}") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@lru_cache(maxsize=8)
def _network(folder: Path, _fingerprint: bytes) -> ReconstructionNetwork:
    """Read once per process; the fingerprint is in the key, because a folder may be published anew meanwhile."""
    return read_network(folder)
