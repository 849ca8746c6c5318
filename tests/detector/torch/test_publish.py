from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector import BUNDLED
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import MODELS, Model, open_model
from keyfpn.detector.torch.config import portable_config, read_config
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.publish import publish_detector, write_detector

CONFIG = MODELS / BUNDLED / "config.yaml"
WEIGHTS = MODELS / BUNDLED / "detector.safetensors"


def test_a_published_copy_is_the_same_detector(
    tmp_path: Path, noise_input: np.ndarray, network: GeneralizedRCNN
) -> None:
    bare = open_model(str(CONFIG), WEIGHTS)
    folder = tmp_path / "mine"
    publish_detector(bare, folder)
    Manifest.of_folder(folder).write(folder)
    published = open_model(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.json",
        "config.yaml",
        "detector.safetensors",
        "manifest.json",
    ]
    assert (published.pyramid, published.preprocessor) == (bare.pyramid, bare.preprocessor)
    assert published.labels == bare.labels
    picture = torch.from_numpy(noise_input)
    with torch.inference_mode():
        expected, found = (
            detector([{"image": picture}])[0]["instances"].pred_boxes.tensor
            for detector in (network, build_network(published))
        )
    assert torch.equal(expected, found)


def test_a_models_own_folder_is_left_as_it_is(unfitted_model: Model) -> None:
    assert unfitted_model.folder is not None
    before = {path: path.stat().st_mtime_ns for path in unfitted_model.folder.iterdir()}
    publish_detector(unfitted_model, unfitted_model.folder / ".." / unfitted_model.folder.name)
    assert {path: path.stat().st_mtime_ns for path in unfitted_model.folder.iterdir()} == before


def test_weights_keep_their_precision(tmp_path: Path, network: GeneralizedRCNN, detector_model: Model) -> None:
    half = {name: value.half() for name, value in network.state_dict().items()}
    write_detector(tmp_path, portable_config(read_config(detector_model.config)), half, detector_model.labels)
    size = (tmp_path / "detector.safetensors").stat().st_size
    assert abs(size - sum(2 * value.numel() for value in half.values())) < 100_000  # and the names
