from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from rich.console import Console

from keyfpn.detector.coco import CocoData
from keyfpn.detector.model import open_model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.config import read_config
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.training.detector.data import Batch
from keyfpn.training.detector.recipe import Recipe
from keyfpn.training.detector.start import initial_network
from keyfpn.training.detector.training import DetectorTraining
from keyfpn.training.engine.holdout import hold_out
from keyfpn.training.engine.log import Record, read_log
from keyfpn.training.engine.loop import Ending, Schedule, TrainingLoop

RECIPE = Recipe(steps=40, batch=2, holdout=3, precision="fp32", head_learning_rate=2e-3, backbone_learning_rate=1e-4)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Interrupted(DetectorTraining):
    """Gets a Ctrl-C in the middle of step 4."""

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        if self.state.step == 3:
            signal.raise_signal(signal.SIGINT)
        return super().losses(batch)


def make_loop(task: DetectorTraining, folder: Path, recipe: Recipe, *, resume: bool = False) -> TrainingLoop[Batch]:
    assert recipe.steps
    schedule = Schedule(recipe.steps, None, recipe.batch, recipe.seed, evaluate_every=recipe.steps)
    settings = {"steps": recipe.steps}
    return TrainingLoop(task, folder, settings, schedule, resume=resume, console=Console(quiet=True))


@pytest.fixture(scope="module")
def finished(tiny_cfg: CfgNode, drawn: Path, backbone_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained to its end, from the bundled detector's backbone."""
    folder = tmp_path_factory.mktemp("runs") / "rectangles"
    network = initial_network(tiny_cfg, seed=0, init_backbone=backbone_file)
    task = DetectorTraining(network, tiny_cfg, CocoData(drawn / "images", drawn / "annotations.json"), RECIPE)
    assert make_loop(task, folder, RECIPE).run() is Ending.FINISHED
    return folder


def steps_of(folder: Path) -> list[Record]:
    return [record for record in read_log(folder / "log.jsonl") if "loss" in record]


def test_the_loss_falls_and_ap_rises_on_pictures_that_were_held_out(finished: Path) -> None:
    steps = steps_of(finished)
    assert np.isfinite([record["loss"] for record in steps]).all()
    # The loss of the ROI heads rises at first, with the part of the proposals that are objects.
    rpn = [record["loss_rpn_cls"] for record in steps]
    assert np.mean(rpn[-5:]) < 0.5 * np.mean(rpn[:5])
    before, after = (record["evaluation"] for record in read_log(finished / "log.jsonl") if "evaluation" in record)
    assert before["AP50"] < 1 < 5 < after["AP50"]


def test_the_published_folder_opens_and_finds_what_was_drawn(finished: Path, drawn: Path) -> None:
    model = open_model(str(finished / "model"))
    assert model.manifest.name == "rectangles"
    assert model.labels.names == ("grey 230", "grey 20")
    network, preprocessor = build_network(model), model.preprocessor
    picture = read_picture(drawn / "images" / "1.png")
    resized = preprocessor.resize(picture)
    features = EdgeHalf(network, ("p2", "p3", "p4", "p5", "p6"))(preprocessor.to_input(resized))
    (found,) = ServerHalf(network)(features, [resized.shape[:2]], [picture.shape[:2]])
    assert len(found) > 0
    assert set(found.pred_classes.tolist()) <= {0, 1}
    assert (found.pred_boxes.tensor[:, 2:] <= torch.tensor([96, 72])).all()


def test_the_model_card_states_what_the_run_measured(finished: Path) -> None:
    card = (finished / "model" / "README.md").read_text()
    last = read_log(finished / "log.jsonl")[-1]
    assert last["published"] == "model"
    assert f"| {last['evaluation']['AP']:.2f} | {last['evaluation']['AP50']:.2f} |" in card
    assert "after 40 steps" in card
    assert "on 3 pictures that were held out" in card
    assert "\n9 pictures with boxes, 2 in a batch" in card
    assert "* head learning rate: 0.002" in card


@pytest.mark.usefixtures("drawings")
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tiny_cfg: CfgNode, data: CocoData, backbone_file: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=7)

    def task(kind: type[DetectorTraining], seed: int) -> DetectorTraining:
        return kind(initial_network(tiny_cfg, seed=seed, init_backbone=backbone_file), tiny_cfg, data, recipe)

    unbroken, resumed = task(DetectorTraining, 0), task(DetectorTraining, 1)
    make_loop(unbroken, tmp_path / "unbroken", recipe).run()
    broken = make_loop(task(Interrupted, 0), tmp_path / "broken", recipe)
    assert broken.run() is Ending.INTERRUPTED
    assert read_log(tmp_path / "broken" / "log.jsonl")[-1]["step"] == 4
    make_loop(resumed, tmp_path / "broken", recipe, resume=True).run()

    assert [{**record, "seconds": 0} for record in read_log(tmp_path / "broken" / "log.jsonl")] == [
        {**record, "seconds": 0} for record in read_log(tmp_path / "unbroken" / "log.jsonl")
    ]
    for name, value in unbroken.state.average.state_dict().items():
        assert torch.equal(resumed.state.average.state_dict()[name], value), name
    published = [open_model(str(tmp_path / run / "model")).weights.read_bytes() for run in ("unbroken", "broken")]
    assert published[0] == published[1]


def test_held_out_pictures_never_reach_a_batch(
    tiny_cfg: CfgNode, data: CocoData, drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = DetectorTraining(initial_network(tiny_cfg, seed=0), tiny_cfg, data, RECIPE)
    read: list[Path] = []
    monkeypatch.setattr(
        "keyfpn.training.detector.data.read_picture", lambda path: (read.append(path), read_picture(path))[1]
    )
    for step in range(12):
        assert isinstance(task._batches[step], list)
    assert set(read) == {
        picture.path for picture in hold_out(data.pictures, RECIPE.holdout, lambda picture: str(picture.id))[0]
    }


def test_frozen_stages_stay_and_the_rest_moves(tiny_cfg: CfgNode, data: CocoData, backbone_file: Path) -> None:
    task = DetectorTraining(
        initial_network(tiny_cfg, seed=0, init_backbone=backbone_file),
        tiny_cfg,
        data,
        replace(RECIPE, precision="bf16"),
    )
    before = {name: value.clone() for name, value in task.state.model.named_parameters()}
    (batch,) = task.batches(range(1))
    task.state.descend(sum(task.losses(batch).values()), 0)
    moved = {name for name, value in task.state.model.named_parameters() if not torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith("backbone.bottom_up.stages.0.")}
    assert frozen
    assert moved == set(before) - frozen
    assert {group["full_lr"]: len(group["params"]) for group in task.state.optimizer.param_groups} == {
        RECIPE.head_learning_rate: len([name for name in moved if "bottom_up" not in name]),
        RECIPE.backbone_learning_rate: len([name for name in moved if "bottom_up" in name]),
    }


def test_whole_weights_are_a_start(finished: Path) -> None:
    model = open_model(str(finished / "model"))
    network = initial_network(read_config(model.config), seed=3, init_weights=model.weights)
    expected = build_network(model).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
