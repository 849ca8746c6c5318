from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode

from keyfpn.detector.errors import PictureError
from keyfpn.detector.prepare import Preprocessor
from keyfpn.training.codecs.crops import CropBatches


@pytest.fixture
def preprocessor(tiny_cfg: CfgNode) -> Preprocessor:
    return Preprocessor.of_config(tiny_cfg)


@pytest.fixture
def batches(drawn: Path, preprocessor: Preprocessor) -> CropBatches:
    pictures = sorted((drawn / "images").iterdir())
    return CropBatches(pictures, preprocessor, batch=3, side=64, short_side=(0.9, 1.2), seed=1)


def test_crops_are_square_and_of_the_step_alone(batches: CropBatches) -> None:
    forward = [batches[step] for step in range(5)]
    for crops in forward:
        assert isinstance(crops, torch.Tensor)
        assert crops.shape == (3, 3, 64, 64)
        assert crops.dtype == torch.uint8
    assert all(torch.equal(batches[step], forward[step]) for step in (4, 0, 2))
    assert not torch.equal(
        forward[0], forward[4]
    )  # the same pictures come again after 4 steps, augmented in another way


def test_a_crop_is_never_larger_than_the_resized_picture(drawn: Path, preprocessor: Preprocessor) -> None:
    pictures = sorted((drawn / "images").iterdir())
    batch = CropBatches(pictures, preprocessor, batch=1, side=160, short_side=(0.5, 0.5), seed=1)[0]
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (1, 3, 160, 160)


def test_an_unreadable_picture_is_handed_over(tmp_path: Path, preprocessor: Preprocessor) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    found = CropBatches([tmp_path / "a.png"], preprocessor, batch=1, side=64, short_side=(1, 1), seed=0)[0]
    assert isinstance(found, PictureError)
