"""`import keyfpn`: the lines of its own docstring run, and its names are what they say."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import keyfpn
from keyfpn.detector.errors import ModelError, PictureError
from keyfpn.edge.errors import ServerError
from keyfpn.protocol.errors import ConfigurationError, ProtocolError

if TYPE_CHECKING:
    from tests.conftest import ServerProcess

EXAMPLES = doctest.DocTestParser().get_examples(keyfpn.__doc__ or "")
LAST_OF_THE_FIRST = next(place for place, example in enumerate(EXAMPLES) if "print(found" in example.source)
ROOMS = ("protocol", "detector", "reconstruct", "edge", "server", "console")
WITH_EXAMPLES = {
    "keyfpn",
    "keyfpn.console.text",
    "keyfpn.detector.model",
    "keyfpn.detector.pyramid",
    "keyfpn.edge.pipeline",
    "keyfpn.protocol.detections",
    "keyfpn.server.pipeline",
}
"""Modules known to have examples: were none found there, the search for them would be wrong."""


@pytest.fixture(scope="module")
def street(photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two pictures of the docstring."""
    folder = tmp_path_factory.mktemp("street")
    Image.fromarray(photo).save(folder / "street.jpg", quality=95)
    Image.fromarray(photo[:256, 100:500]).save(folder / "harbour.jpg", quality=95)
    return folder


def run(examples: list[doctest.Example], address: str = "") -> dict[str, object]:
    """Run lines as they stand, with the test's server in the place of theirs; returns the names that they made."""
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example.source.replace("localhost:50051", address), "docstring", "exec"), names)
    return names


@pytest.fixture(scope="module")
def five_lines(street: Path) -> Iterator[dict[str, object]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(street)
        yield run(EXAMPLES[: LAST_OF_THE_FIRST + 1])


def test_a_picture_to_boxes_in_five_lines(five_lines: dict[str, object]) -> None:
    assert len(EXAMPLES[: LAST_OF_THE_FIRST + 1]) == 5
    packet, found = five_lines["packet"], five_lines["found"]
    assert isinstance(packet, keyfpn.Packet)
    assert (packet.codec, packet.quality, packet.image_size, packet.frame_id) == ("learned", 3, (512, 512), 1)
    assert isinstance(found, keyfpn.Detections)
    assert found.names[0] == "person"
    assert found.scores[0] > 0.9


def test_over_the_network_in_six_lines(
    server: ServerProcess, street: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(street)
    lines = [EXAMPLES[0], *EXAMPLES[LAST_OF_THE_FIRST + 1 :]]
    assert sum(len(example.source.splitlines()) for example in lines) <= 6
    assert any("localhost:50051" in example.source for example in lines)
    run(lines, server.address)
    first, second = capsys.readouterr().out.splitlines()
    for line in (first, second):
        assert "person" in line


class TestDetections:
    """What a program takes from them, among others for `supervision.Detections(xyxy=, confidence=, …)`."""

    @pytest.fixture
    def found(self, five_lines: dict[str, object]) -> keyfpn.Detections:
        found = five_lines["found"]
        assert isinstance(found, keyfpn.Detections)
        return found

    def test_arrays_as_others_take_them(self, found: keyfpn.Detections) -> None:
        count = len(found)
        assert count > 0
        fields = {
            "xyxy": (found.boxes, (count, 4), np.float32),
            "confidence": (found.scores, (count,), np.float32),
            "class_id": (found.classes, (count,), np.int64),
        }
        for array, shape, dtype in fields.values():
            assert (type(array), array.shape, array.dtype) == (np.ndarray, shape, dtype)
            assert np.isfinite(array).all()
        data = {"class_name": np.array(found.names)}
        assert (data["class_name"].shape, data["class_name"].dtype.kind) == ((count,), "U")
        assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= 512).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert (np.diff(found.scores) <= 0).all()  # the best first

    def test_nothing_found_has_arrays_too(self, found: keyfpn.Detections) -> None:
        none = found.above(1.1)
        assert (none.boxes.shape, none.scores.shape, none.classes.shape) == ((0, 4), (0,), (0,))
        assert (none.names, none.to_coco(1)) == ([], [])

    def test_cocos_results(self, found: keyfpn.Detections) -> None:
        first = found.to_coco(image_id=42)[0]
        assert set(first) == {"image_id", "category_id", "bbox", "score"}
        assert (first["image_id"], first["category_id"]) == (42, 1)  # a person
        x0, y0, x1, y1 = map(float, found.boxes[0])
        assert first["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
        assert all(type(number) is float for number in [*first["bbox"], first["score"]])


class TestNames:
    def test_all_of_them_are_there(self) -> None:
        assert set(keyfpn.__all__) == {
            "Client",
            "Detections",
            "Edge",
            "Error",
            "Model",
            "Packet",
            "Server",
            "open_model",
        }
        for name in keyfpn.__all__:
            assert getattr(keyfpn, name).__name__ == name
        assert set(keyfpn.__all__) <= set(dir(keyfpn))
        assert dir(keyfpn) == sorted(set(dir(keyfpn)))
        assert keyfpn.__version__.count(".") == 2

    def test_from_keyfpn_import_everything(self) -> None:
        names: dict[str, object] = {}
        exec("from keyfpn import *", names)
        assert set(keyfpn.__all__) <= set(names)

    def test_an_unknown_one(self) -> None:
        with pytest.raises(AttributeError, match="module 'keyfpn' has no attribute 'Sever'"):
            _ = keyfpn.Sever
        with pytest.raises(ImportError, match="cannot import name 'Sever' from 'keyfpn'"):
            exec("from keyfpn import Sever")

    def test_importing_it_imports_nothing_else_of_ours(self) -> None:
        code = "import sys, keyfpn; dir(keyfpn); print([name for name in sys.modules if name.startswith('keyfpn.')])"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout == "[]\n"

    def test_every_error_is_one(self) -> None:
        for kind in (ConfigurationError, ModelError, PictureError, ProtocolError, ServerError):
            assert issubclass(kind, keyfpn.Error)
            assert not issubclass(kind, ValueError)


@pytest.fixture(scope="module")
def edge() -> keyfpn.Edge:
    return keyfpn.Edge(keyfpn.open_model(), codec="interpolate")


class TestEdgeAndServer:
    def test_a_picture_is_an_array_a_str_or_a_path(self, edge: keyfpn.Edge, photo: np.ndarray, tmp_path: Path) -> None:
        Image.fromarray(photo).save(tmp_path / "photo.png")
        pictures = (photo, tmp_path / "photo.png", str(tmp_path / "photo.png"))
        first, *others = [edge.encode(picture) for picture in pictures]
        for other in others:
            assert other.chunks == first.chunks
            assert (other.image_size, other.stream_id) == (first.image_size, first.stream_id)
        assert [packet.frame_id for packet in (first, *others)] == [1, 2, 3]

    @pytest.mark.parametrize("picture", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), "none.png"])
    def test_what_is_no_picture(self, edge: keyfpn.Edge, picture: np.ndarray | str) -> None:
        with pytest.raises(PictureError):
            edge.encode(picture)
        with pytest.raises(keyfpn.Error):
            edge.encode(picture)

    def test_another_edge_is_another_stream(self, edge: keyfpn.Edge) -> None:
        other = keyfpn.Edge(edge.model, codec="raw", network=lambda encoder: lambda picture: {})
        assert other.stream_id != edge.stream_id

    def test_a_server_takes_packets_and_their_bytes(
        self, edge: keyfpn.Edge, five_lines: dict[str, object], photo: np.ndarray
    ) -> None:
        model, packet = five_lines["model"], five_lines["packet"]
        assert isinstance(model, keyfpn.Model)
        assert isinstance(packet, keyfpn.Packet)
        server = keyfpn.Server(model)
        of_packet, of_bytes = server.detect(packet), server.detect(packet.serialize())
        np.testing.assert_array_equal(of_packet.boxes, of_bytes.boxes)
        assert of_packet.names == of_bytes.names
        assert server.detect(edge.encode(photo)).names[0] == "person"  # of another stream and codec
        with pytest.raises(keyfpn.Error, match="expected the magic"):
            server.detect(b"no packet at all, by any means: neither magic nor checksum, and not long")

    def test_an_unknown_model(self) -> None:
        with pytest.raises(keyfpn.Error, match="model 'none-such': expected a model folder, a bundled model"):
            keyfpn.open_model("none-such")


def modules_with_examples() -> list[str]:
    """Every module of the rooms whose text has an example."""
    found = ["keyfpn"]
    for room in ROOMS:
        package = import_module(f"keyfpn.{room}")
        for info in walk_packages(package.__path__, f"{package.__name__}."):
            path = Path(package.__path__[0], *info.name.split(".")[2:]).with_suffix(".py")
            if path.is_file() and ">>> " in path.read_text():
                found.append(info.name)
    return found


def test_the_modules_with_examples_are_found() -> None:
    assert set(modules_with_examples()) >= WITH_EXAMPLES


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
