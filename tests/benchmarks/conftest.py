"""A small data set of views of one photograph, annotated with the detector's own boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from PIL import Image

from keyfpn.detector.coco import CocoData
from keyfpn.detector.detections import Detections
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf, ServerHalf
from keyfpn.reconstruct.codec import LEVELS

Detect = Callable[..., Detections]


@pytest.fixture(scope="session")
def detect(network: GeneralizedRCNN, preprocessor: Preprocessor) -> Iterator[Detect]:
    """The unsplit detector, as one who knows nothing of the benchmark would run it: picture to detections."""
    edge = EdgeHalf(network, LEVELS, precision="fp32")
    server = ServerHalf(network, precision="fp32")

    def detect(picture: np.ndarray, *, resized: np.ndarray | None = None) -> Detections:
        resized = preprocessor.resize(picture) if resized is None else resized
        features = edge(preprocessor.to_input(resized))
        return Detections.from_instances(server(features, resized.shape[:2], picture.shape[:2]))

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the workers have it: sums in another order differ in the last bit
    yield detect
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data_folder(
    tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray, detect: Detect, detector_model: DetectorModel
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
        for result in detect(read_picture(folder / name)).above(0.5).to_coco(id, detector_model.category_ids):
            x, y, w, h = result["bbox"]
            box = [x + 0.1 * w, y, w, h]  # off by a little, so that AP is neither 0 nor 100
            annotations.append(
                {"id": len(annotations) + 1, "image_id": id, "category_id": result["category_id"], "bbox": box}
                | {"area": w * h, "iscrowd": 0}
            )
    categories = [{"id": c, "name": str(c)} for c in detector_model.category_ids]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def data(data_folder: Path) -> CocoData:
    return CocoData(data_folder, data_folder / "annotations.json")
