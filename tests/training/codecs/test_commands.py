"""`keyfpn-train codec` and `keyfpn-train network`, from pictures to packets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from keyfpn.detector.config import read_config
from keyfpn.detector.model import build_network, open_detector
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf
from keyfpn.reconstruct.codec import build_codec, codec_names, codec_of
from keyfpn.training.cli import app
from keyfpn.training.engine.log import read_log
from tests.reconstruct.packets import packet_of


@pytest.fixture(scope="module")
def tiny_weights(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"model": build_network(read_config(str(tiny_config), "cpu")).state_dict()}, path)
    return path


def run(command: str, drawn: Path, out: Path, config: Path, weights: Path, *more: str) -> Result:
    given = {"images": drawn / "images", "out": out, "detector": config, "weights": weights}
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    fixed = ["--steps=2", "--batch=1", "--holdout=2", "--precision=fp32"]
    return CliRunner().invoke(app, [command, *options, *fixed, *more], catch_exceptions=False)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("command", ["codec", "network"])
def test_from_pictures_to_packets(
    command: str, precision: str, drawn: Path, tmp_path: Path, tiny_config: Path, tiny_weights: Path
) -> None:
    out = tmp_path / "run"
    result = run(command, drawn, out, tiny_config, tiny_weights, f"--precision={precision}")
    assert result.exit_code == 0, result.output
    assert str(out / "model") in result.output
    records = read_log(out / "log.jsonl")
    losses = {"codec": {"rate", "feature", "rpn", "box"}, "network": {"feature", "rpn", "box"}}[command]
    assert all(losses <= set(record) for record in records if "loss" in record)
    assert any(name.startswith("agreement ") for name in records[-1]["evaluation"])

    model = open_detector(str(out / "model"))
    name = {"codec": "learned", "network": "network"}[command]
    assert name in codec_names(model)
    preprocessor = Preprocessor(model.cfg)
    resized = preprocessor.resize(read_picture(drawn / "images" / "1.png"))
    codec = build_codec(name, model)
    size = (resized.shape[0], resized.shape[1])
    features = EdgeHalf(model.build(), codec.key_levels)(preprocessor.to_input(resized))
    packet = packet_of(codec, model, features, size)
    rebuilt = codec_of(packet, model).decode(packet.chunks, model.geometry(size))
    assert rebuilt["p2"].shape == (1, *model.geometry(size).level_shape("p2"))

    resumed = run(command, drawn, out, tiny_config, tiny_weights, f"--precision={precision}", "--resume")
    assert "finished already" in resumed.stderr


def test_a_codec_starts_from_a_published_one(
    drawn: Path, tmp_path: Path, tiny_config: Path, tiny_weights: Path
) -> None:
    first = run("codec", drawn, tmp_path / "a", tiny_config, tiny_weights)
    assert first.exit_code == 0, first.output
    second = run("codec", drawn, tmp_path / "b", tiny_config, tiny_weights, f"--init-codec={tmp_path / 'a' / 'model'}")
    assert second.exit_code == 0, second.output
    other = run("codec", drawn, tmp_path / "c", tiny_config, tiny_weights, f"--init-codec={tmp_path}")
    assert (other.exit_code, other.stderr.startswith("error: ")) == (2, True)


def test_errors_are_one_line_on_stderr(drawn: Path, tmp_path: Path, tiny_config: Path, tiny_weights: Path) -> None:
    for message, option in {
        "no such file or folder": f"--images={tmp_path / 'none'}",
        "more pictures than the 12 to hold out": "--holdout=12",
        "expected the checkpoint of a run to resume": "--resume",
    }.items():
        result = run("codec", drawn, tmp_path / "run", tiny_config, tiny_weights, option)
        assert result.exit_code == 2, message
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
