from pathlib import Path

import pytest

from keyfpn.detector.errors import ModelError
from keyfpn.detector.labels import FILE, parse_labels, write_labels
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.publish import publish_detector
from keyfpn.protocol.detections import LabelMap

LABELS = LabelMap(("person", "traffic light", "Übergang"), (1, 10, 91))


def test_labels_survive_their_file(tmp_path: Path) -> None:
    write_labels(LABELS, tmp_path)
    assert parse_labels((tmp_path / FILE).read_bytes(), "here") == LABELS
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"3", b"[1]", b'[{"name": "x"}]', b'[{"id": "x", "name": "y"}]', b'{"id": 1}', b"\xff"]
)
def test_malformed_labels_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="here: expected a list of id and name per class, found "):
        parse_labels(data, "here")


def test_the_bundled_models_classes_are_cocos(detector_model: Model) -> None:
    assert len(detector_model.labels) == 80
    assert detector_model.labels.names[0] == "person"
    assert detector_model.labels.category_ids[0] == 1
    assert (detector_model.labels.names[-1], detector_model.labels.category_ids[-1]) == ("toothbrush", 90)


def test_a_published_models_classes_are_in_its_folder(unfitted_model: Model, detector_model: Model) -> None:
    assert FILE in unfitted_model.manifest.hashes
    assert unfitted_model.labels == detector_model.labels


def test_malformed_labels_of_a_model_name_its_folder(detector_model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    publish_detector(detector_model, folder)
    (folder / FILE).write_text('{"person": 1}')
    Manifest.of_folder(folder).write(folder)
    model = open_model(folder)
    with pytest.raises(ModelError, match="mine: expected a list of id and name per class"):
        _ = model.labels
