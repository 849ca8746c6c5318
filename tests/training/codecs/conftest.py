"""Runs of `keyfpn-train codec` and `keyfpn-train network` for the tiny detector, and what a packet of them needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import keyfpn
from keyfpn.detector.model import open_model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.config import read_config
from keyfpn.detector.torch.network import random_network
from keyfpn.reconstruct.registry import codec_of
from keyfpn.training.cli import app
from keyfpn.training.codecs.learned.recipe import CodecRecipe
from keyfpn.training.codecs.recipe import ReconstructionRecipe

Train = Callable[..., Result]
"""Run a command: its name, the folder of the run, and more options."""


@dataclass(frozen=True, kw_only=True)
class SmallCodecRecipe(CodecRecipe):
    side: int = 128


@dataclass(frozen=True, kw_only=True)
class SmallNetworkRecipe(ReconstructionRecipe):
    side: int = 128


@pytest.fixture(scope="session")
def tiny_weights(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"model": random_network(read_config(str(tiny_config), "cpu")).state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def train(drawn: Path, tiny_config: Path, tiny_weights: Path) -> Train:
    """Runs a command for two steps of one crop of 128 x 128 pixels; nothing is drawn."""

    def run(command: str, out: Path, *more: str) -> Result:
        given = {"images": drawn / "images", "out": out, "detector": tiny_config, "weights": tiny_weights}
        options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
        fixed = ["--steps=2", "--batch=1", "--holdout=2", "--precision=fp32"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("keyfpn.training.codecs.learned.command.CodecRecipe", SmallCodecRecipe)
            patch.setattr("keyfpn.training.codecs.network.command.ReconstructionRecipe", SmallNetworkRecipe)
            patch.setattr("keyfpn.training.engine.loop.plot_log", lambda *_: None)
            return CliRunner().invoke(app, [command, *options, *fixed, *more], catch_exceptions=False)

    return run


@pytest.fixture(scope="session")
def trained_codec(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `keyfpn-train codec`."""
    out = tmp_path_factory.mktemp("runs") / "codec"
    result = train("codec", out)
    assert result.exit_code == 0, result.output
    assert f"The model is in {out / 'model'}." in result.output
    return out


@pytest.fixture(scope="session")
def assert_codec_works(drawn: Path) -> Callable[[Path, str], None]:
    """From a picture to a packet and back, by a codec of a model folder."""

    def check(folder: Path, name: str) -> None:
        model = open_model(folder)
        picture = read_picture(drawn / "images" / "1.png")
        packet = keyfpn.Edge(model, codec=name).encode(picture)
        codec = codec_of(packet, model)
        assert codec.name == name
        rebuilt = codec.rebuilder().rebuild([codec.decoder().unpack(packet)])
        assert rebuilt["p2"].shape == (1, *model.geometry(packet.network_size).level_shape("p2"))

    return check
