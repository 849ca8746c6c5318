"""Fixtures that several rooms share: the bundled detector, pictures, and the data beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN

from detector.model import DetectorModel, open_detector
from detector.pictures import Preprocessor, read_picture

COCO_SUBSET = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "coco_subset"


@pytest.fixture(scope="session")
def detector_model() -> DetectorModel:
    return open_detector()


@pytest.fixture(scope="session")
def network(detector_model: DetectorModel) -> GeneralizedRCNN:
    return detector_model.build()


@pytest.fixture(scope="session")
def preprocessor(detector_model: DetectorModel) -> Preprocessor:
    return Preprocessor(detector_model.cfg)


@pytest.fixture(scope="session")
def coco_subset() -> Path:
    """The real pictures beside the project."""
    if not COCO_SUBSET.is_dir():
        pytest.skip("needs ../shared/data/coco_subset, the COCO pictures beside the project")
    return COCO_SUBSET


@pytest.fixture(scope="session")
def val_pictures(coco_subset: Path) -> list[np.ndarray]:
    """Four val pictures, RGB."""
    return [read_picture(path) for path in sorted((coco_subset / "val").glob("*.jpg"))[:4]]


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph with people and things in it that ships with scikit-image: (H, W, 3) uint8 RGB."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's pictures")
    return np.asarray(data.astronaut())


@pytest.fixture(scope="session")
def noise_input() -> torch.Tensor:
    """A small network input whose sides are no multiples of 32: (3, 90, 120)."""
    return torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
