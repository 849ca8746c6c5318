"""A tiny detector and tiny data that the tests draw themselves: light and dark rectangles on grey."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.config import CfgNode
from PIL import Image
from safetensors.torch import load_file, save_file

from keyfpn.detector import BUNDLED
from keyfpn.detector.coco import CocoData
from keyfpn.detector.model import CONFIG_FILE, MODELS, WEIGHTS_FILE
from keyfpn.detector.torch.config import read_config

PICTURES, HEIGHT, WIDTH = 12, 72, 96
CATEGORIES = {3: 230, 7: 20}
"""Category id to grey value; ids with a gap, unlike class indices."""


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """A training makes its process take denormal numbers for zero; Hypothesis wants them in later tests."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``images/`` and ``annotations.json``."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    images, annotations = [], []
    for id in range(1, PICTURES + 1):
        pixels = random.integers(110, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for category, value in CATEGORIES.items():
            w, h = random.integers(20, 40, 2).tolist()
            x, y = int(random.integers(0, WIDTH - w)), int(random.integers(0, HEIGHT - h))
            pixels[y : y + h, x : x + w] = value
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": id,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
        Image.fromarray(pixels).save(folder / "images" / f"{id}.png")
        images.append({"id": id, "file_name": f"{id}.png", "height": HEIGHT, "width": WIDTH})
    categories = [{"id": id, "name": f"grey {value}"} for id, value in CATEGORIES.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled detector's config with two classes, small pictures and small heads."""
    config = {
        "_BASE_": str(MODELS / BUNDLED / CONFIG_FILE),
        "MODEL": {
            "FPN": {"OUT_CHANNELS": 16},
            "RPN": {"POST_NMS_TOPK_TRAIN": 50, "POST_NMS_TOPK_TEST": 20, "BATCH_SIZE_PER_IMAGE": 64},
            "ROI_HEADS": {"NUM_CLASSES": len(CATEGORIES), "BATCH_SIZE_PER_IMAGE": 32},
            "ROI_BOX_HEAD": {"FC_DIM": 32, "POOLER_RESOLUTION": 5},
        },
        "INPUT": {"MIN_SIZE_TEST": 72, "MAX_SIZE_TEST": 128},
    }
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session")
def tiny_cfg(tiny_config: Path) -> CfgNode:
    return read_config(str(tiny_config), "cpu")


@pytest.fixture(scope="session")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled detector's backbone as torchvision names it: ``features.0 … features.18``."""
    state = load_file(MODELS / BUNDLED / WEIGHTS_FILE)
    prefix = re.compile(r"backbone\.bottom_up\.stages\.\d\.")
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_file({prefix.sub("features.", name): value for name, value in state.items() if prefix.match(name)}, path)
    return path


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where plots would be drawn: a drawing takes as long as many steps of a test, and has tests of its own."""
    paths: list[Path] = []
    monkeypatch.setattr("keyfpn.training.engine.loop.plot_log", lambda _records, path: paths.append(path))
    return paths


@pytest.fixture
def data(drawn: Path) -> CocoData:
    return CocoData(drawn / "images", drawn / "annotations.json")
