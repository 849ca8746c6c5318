from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from detectron2.config import CfgNode

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.config import portable_config
from keyfpn.detector.torch.network import build_network
from keyfpn.protocol.detections import LabelMap
from keyfpn.training.detector.publish import half_precision, publish
from keyfpn.training.detector.start import initial_network

LABELS = LabelMap(("square", "disc"), (3, 7))


def write(cfg: CfgNode, folder: Path, *, seed: int, card: str = "a card") -> list[Model]:
    described: list[Model] = []

    def describe(model: Model) -> str:
        described.append(model)
        return card

    network = initial_network(cfg, seed=seed)
    publish(network, portable_config(cfg), LABELS, folder, name="rectangles", describe=describe)
    return described


def test_the_folder_opens_with_the_weights_rounded_to_half_precision(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    (described,) = write(tiny_cfg, tmp_path / "model", seed=0)
    model = open_model(str(tmp_path / "model"))
    assert model.fingerprint == described.fingerprint
    assert model.manifest.name == "rectangles"
    assert set(model.manifest.hashes) == {"config.yaml", "detector.safetensors", "classes.json"}
    assert model.labels == LABELS
    assert (tmp_path / "model" / "README.md").read_text() == "a card"
    state = build_network(model).state_dict()
    for name, value in initial_network(tiny_cfg, seed=0).state_dict().items():
        expected = value if name.endswith(("running_mean", "running_var")) else value.half().float()
        assert torch.equal(state[name], expected), name


def test_an_older_model_is_replaced_and_nothing_else_is_left(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    write(tiny_cfg, tmp_path / "model", seed=0)
    before = Manifest.read(tmp_path / "model").fingerprint
    write(tiny_cfg, tmp_path / "model", seed=1)
    assert Manifest.read(tmp_path / "model").fingerprint != before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_measurement_leaves_the_older_model(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    write(tiny_cfg, tmp_path / "model", seed=0)
    before = Manifest.read(tmp_path / "model").fingerprint

    def fail(_model: Model) -> str:
        raise ValueError("out of pictures")

    with pytest.raises(ValueError, match="out of pictures"):
        publish(
            initial_network(tiny_cfg, seed=1),
            portable_config(tiny_cfg),
            LABELS,
            tmp_path / "model",
            name="rectangles",
            describe=fail,
        )
    assert Manifest.read(tmp_path / "model").fingerprint == before


def test_statistics_and_counts_keep_their_type() -> None:
    state = {
        "bn.running_var": torch.tensor([1e6]),
        "bn.weight": torch.ones(1),
        "bn.num_batches_tracked": torch.tensor(100_000),
    }
    half = half_precision(state)
    assert {name: value.dtype for name, value in half.items()} == {
        "bn.running_var": torch.float32,
        "bn.weight": torch.float16,
        "bn.num_batches_tracked": torch.int64,
    }
    assert half["bn.running_var"].item() == 1e6


def test_the_config_names_no_machine(tiny_cfg: CfgNode) -> None:
    cfg = tiny_cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR = "cuda:1", "/home/me/weights.pth", "/home/me"
    plain = yaml.safe_load(portable_config(cfg))
    assert (plain["MODEL"]["DEVICE"], plain["MODEL"]["WEIGHTS"], plain["OUTPUT_DIR"]) == ("cpu", "", "")
    assert plain["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == 2
