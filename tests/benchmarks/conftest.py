"""A quick detector, a small data set of views of one photograph, annotated with the detector's own boxes, and one
worker process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from keyfpn.benchmarks.engine.detector import Detector
from keyfpn.benchmarks.engine.pool import Pool
from keyfpn.detector.coco import CocoData
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import CONFIG_FILE, Model, open_model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import Detections

Detect = Callable[..., Detections]
SharePool = Callable[[int], AbstractContextManager[Pool]]
SIDE = 128
"""The short side of a picture, as the quick detector sees it."""


@pytest.fixture(scope="session")
def quick_model(detector_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The bundled detector with the fitted parameters alone, quick."""
    files = ("detector.safetensors", "ranges.safetensors", "mixes.json")
    return quick(detector_model, tmp_path_factory.mktemp("models") / "quick", files)


@pytest.fixture(scope="session")
def quick_learned_model(learned_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model with a network and a learned codec, quick."""
    return quick(
        learned_model, tmp_path_factory.mktemp("models") / "quick_learned", tuple(learned_model.manifest.hashes)
    )


def quick(model: Model, folder: Path, files: Sequence[str]) -> Model:
    """A model made for small pictures and few boxes: its answers come many times sooner."""
    assert model.folder is not None
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(model.folder / name)
    config = yaml.safe_load((model.folder / CONFIG_FILE).read_text())
    config["INPUT"] |= {"MIN_SIZE_TEST": SIDE, "MAX_SIZE_TEST": 2 * SIDE}
    config["MODEL"]["RPN"] |= {"PRE_NMS_TOPK_TEST": 30, "POST_NMS_TOPK_TEST": 30}
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(config))
    Manifest.of_folder(folder).write(folder)
    return open_model(str(folder))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As the workers have it: sums in another order differ in the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def quick_detector(quick_model: Model) -> Detector:
    """The quick detector in float32, as the benchmarks run it."""
    return Detector(str(quick_model.folder), None, "fp32")


@pytest.fixture(scope="session")
def detect(quick_model: Model) -> Detect:
    """The unsplit quick detector, as one who knows nothing of the benchmark would run it: picture to detections."""
    network, preprocessor = build_network(quick_model), quick_model.preprocessor
    edge = EdgeHalf(network, quick_model.pyramid.levels, precision="fp32")
    server = ServerHalf(network, precision="fp32")

    def detect(picture: NDArray[np.uint8], *, resized: NDArray[np.uint8] | None = None) -> Detections:
        resized = preprocessor.resize(picture) if resized is None else resized
        features = edge(preprocessor.to_input(resized))
        (instances,) = server(features, [resized.shape[:2]], [picture.shape[:2]])
        return to_detections(instances, quick_model.labels)

    return detect


@pytest.fixture(scope="session")
def data_folder(
    tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8], detect: Detect, quick_model: Model
) -> Path:
    """Three pictures, and ``annotations.json``."""
    folder = tmp_path_factory.mktemp("data")
    images, annotations = [], []
    for id, picture in ((7, photo), (3, photo[:400, ::-1]), (11, photo[100:, :300])):
        name = f"{id}.jpg"
        exif = Image.Exif()
        exif[0x010E] = "a description that a sent picture must not carry"
        Image.fromarray(picture).save(folder / name, quality=92, exif=exif)
        height, width = picture.shape[:2]
        images.append({"id": id, "file_name": name, "height": height, "width": width})
        for result in detect(read_picture(folder / name)).above(0.3).to_coco(id, quick_model.labels.category_ids):
            x, y, w, h = result["bbox"]
            box = [x + 0.1 * w, y, w, h]  # off by a little, so that AP is neither 0 nor 100
            annotations.append(
                {"id": len(annotations) + 1, "image_id": id, "category_id": result["category_id"], "bbox": box}
                | {"area": w * h, "iscrowd": 0}
            )
    categories = [{"id": c, "name": str(c)} for c in quick_model.labels.category_ids]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def data(data_folder: Path) -> CocoData:
    return CocoData(data_folder, data_folder / "annotations.json")


@pytest.fixture(scope="session")
def worker() -> Iterator[Pool]:
    """One worker process for all tests, which opens the detector once."""
    with Pool(1) as pool:
        yield pool


@pytest.fixture(scope="session")
def share_worker(worker: Pool) -> SharePool:
    """Stands in for ``Pool`` where a command makes one: starting a process and importing torch takes seconds."""
    return lambda workers: nullcontext(worker)
