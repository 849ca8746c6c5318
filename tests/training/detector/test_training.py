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
from safetensors.torch import load_file, save_file
from torchvision.models import mobilenet_v2

from keyfpn.detector import BUNDLED
from keyfpn.detector.coco import CocoData
from keyfpn.detector.config import read_config
from keyfpn.detector.errors import ModelError, WeightsError
from keyfpn.detector.model import MODELS, WEIGHTS_FILE, open_detector
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf, ServerHalf
from keyfpn.training.detector.data import Batch, hold_out
from keyfpn.training.detector.recipe import Recipe
from keyfpn.training.detector.training import DetectorTraining, initial_network, read_training_config
from keyfpn.training.engine.log import Record, read_log
from keyfpn.training.engine.loop import Ending, TrainingLoop

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


def make_loop(task: DetectorTraining, folder: Path, recipe: Recipe) -> TrainingLoop[Batch]:
    return TrainingLoop(
        task,
        folder,
        {"steps": recipe.steps},
        steps=recipe.steps,
        minutes=None,
        batch=recipe.batch,
        seed=recipe.seed,
        evaluate_every=recipe.steps,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def finished(tiny_cfg: CfgNode, drawn: Path, backbone_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained to its end, from the bundled detector's backbone."""
    folder = tmp_path_factory.mktemp("runs") / "rectangles"
    network = initial_network(tiny_cfg, seed=0, init_backbone=backbone_file)
    task = DetectorTraining(network, tiny_cfg, CocoData(drawn / "images", drawn / "annotations.json"), RECIPE)
    assert make_loop(task, folder, RECIPE).run(resume=False) is Ending.FINISHED
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
    model = open_detector(str(finished / "model"))
    assert model.manifest.name == "rectangles"
    assert model.class_names == ["grey 230", "grey 20"]
    network, preprocessor = model.build(), Preprocessor(model.cfg)
    picture = read_picture(drawn / "images" / "1.png")
    resized = preprocessor.resize(picture)
    features = EdgeHalf(network, ("p2", "p3", "p4", "p5", "p6"))(preprocessor.to_input(resized))
    found = ServerHalf(network)(features, resized.shape[:2], picture.shape[:2])
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


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    tiny_cfg: CfgNode, data: CocoData, backbone_file: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, steps=7)

    def task(kind: type[DetectorTraining], seed: int) -> DetectorTraining:
        return kind(initial_network(tiny_cfg, seed=seed, init_backbone=backbone_file), tiny_cfg, data, recipe)

    unbroken, resumed = task(DetectorTraining, 0), task(DetectorTraining, 1)
    make_loop(unbroken, tmp_path / "unbroken", recipe).run(resume=False)
    broken = make_loop(task(Interrupted, 0), tmp_path / "broken", recipe)
    assert broken.run(resume=False) is Ending.INTERRUPTED
    assert read_log(tmp_path / "broken" / "log.jsonl")[-1]["step"] == 4
    make_loop(resumed, tmp_path / "broken", recipe).run(resume=True)

    assert [{**record, "seconds": 0} for record in read_log(tmp_path / "broken" / "log.jsonl")] == [
        {**record, "seconds": 0} for record in read_log(tmp_path / "unbroken" / "log.jsonl")
    ]
    for name, value in unbroken.state.average.state_dict().items():
        assert torch.equal(resumed.state.average.state_dict()[name], value), name
    published = [open_detector(str(tmp_path / run / "model")).weights.read_bytes() for run in ("unbroken", "broken")]
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


def test_a_backbone_file_fills_the_backbone_alone(tiny_cfg: CfgNode, backbone_file: Path) -> None:
    fresh, initial = initial_network(tiny_cfg, seed=0), initial_network(tiny_cfg, seed=0, init_backbone=backbone_file)
    bundled = load_file(MODELS / BUNDLED / WEIGHTS_FILE)
    for name, value in initial.state_dict().items():
        expected = bundled[name].float() if "bottom_up" in name else fresh.state_dict()[name]
        assert torch.equal(value, expected), name


def test_torchvisions_own_weights_are_a_backbone_file(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    whole = mobilenet_v2(weights=None)  # with a classifier and BatchNorm counts
    torch.save(whole.state_dict(), tmp_path / "mobilenet_v2.pth")
    network = initial_network(tiny_cfg, seed=0, init_backbone=tmp_path / "mobilenet_v2.pth")
    last = network.backbone.bottom_up.stages[3][-1][0].weight
    assert torch.equal(last, whole.features[18][0].weight)


def test_a_backbone_file_of_another_network_is_an_error(tiny_cfg: CfgNode, tmp_path: Path) -> None:
    save_file({"features.0.0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors: expected the arrays of torchvision's mobilenet_v2"):
        initial_network(tiny_cfg, seed=0, init_backbone=tmp_path / "other.safetensors")


def test_whole_weights_are_a_start(finished: Path) -> None:
    model = open_detector(str(finished / "model"))
    network = initial_network(model.cfg, seed=3, init_weights=model.weights)
    expected = model.build().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_a_backbone_file_needs_the_backbone(backbone_file: Path) -> None:
    cfg = read_config("COCO-Detection/faster_rcnn_R_50_FPN_1x", "cpu")
    with pytest.raises(ModelError, match=r"expected a config with a MobileNetV2 backbone .* found ResNet"):
        initial_network(cfg, seed=0, init_backbone=backbone_file)


def test_another_kind_of_detector_is_an_error() -> None:
    with pytest.raises(
        ModelError, match=r"expected .* a GeneralizedRCNN on an FPN .* found a RetinaNet on a FPN with LastLevelP6P7"
    ):
        initial_network(read_config("COCO-Detection/retinanet_R_50_FPN_1x", "cpu"), seed=0)


def test_a_config_is_a_file_a_bundled_model_or_a_zoo_name(tiny_config: Path) -> None:
    assert read_training_config(None, "cpu") == read_training_config(BUNDLED, "cpu")
    assert read_training_config(str(tiny_config), "cpu").MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert read_training_config("COCO-Detection/faster_rcnn_R_50_FPN_1x", "cpu").MODEL.RESNETS.DEPTH == 50
    with pytest.raises(ModelError, match="no config 'no such'"):
        read_training_config("no such", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match="train with --device cpu"):
        read_training_config(None, "cuda")
