import io
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image

from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor, find_pictures, picture_size, read_picture


def encoded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def gradient() -> np.ndarray:
    """A picture of 40 x 60 without symmetry."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 2 * (x + y)], axis=2).astype(np.uint8)


def test_reads_files_and_bytes_alike(tmp_path: Path, gradient: np.ndarray) -> None:
    data = encoded(gradient, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert np.array_equal(read_picture(tmp_path / "a.png"), gradient)
    assert np.array_equal(read_picture(data), gradient)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, gradient: np.ndarray, mode: str) -> None:
    Image.fromarray(gradient).convert("L" if mode == "I;16" else mode).save(tmp_path / "a.tiff")
    assert read_picture(tmp_path / "a.tiff").shape == gradient.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright(tmp_path: Path, gradient: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    path.write_bytes(encoded(gradient, "PNG", exif=exif))
    turned = read_picture(path)
    assert picture_size(path) == turned.shape[:2]
    assert turned.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))
    if orientation == 6:
        assert np.array_equal(turned, np.rot90(gradient, -1))


def test_resizes_as_the_detectors_test_transform(preprocessor: Preprocessor, detector_model: Model) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (480, 1000, 3), dtype=np.uint8)
    sizes = detector_model.cfg.INPUT
    transform = ResizeShortestEdge([sizes.MIN_SIZE_TEST] * 2, sizes.MAX_SIZE_TEST).get_transform(picture)
    assert np.array_equal(preprocessor.resize(picture), transform.apply_image(picture))
    assert preprocessor.network_size((480, 1000)) == (307, 640)
    assert preprocessor.network_size((480, 640)) == (384, 512)


def test_channels_in_the_detectors_order(detector_model: Model, gradient: np.ndarray) -> None:
    cfg = detector_model.cfg.clone()
    assert np.array_equal(Preprocessor(cfg).to_input(gradient).numpy(), gradient.transpose(2, 0, 1))
    cfg.defrost()
    cfg.INPUT.FORMAT = "BGR"
    assert np.array_equal(Preprocessor(cfg).to_input(gradient).numpy(), gradient[:, :, ::-1].transpose(2, 0, 1))


def test_what_is_no_picture_is_named(tmp_path: Path, gradient: np.ndarray) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(encoded(gradient, "JPEG")[:-200])
    (tmp_path / "empty.png").write_bytes(b"")
    for name, message in (
        ("text.jpg", "no picture format matches"),
        ("cut.jpg", "corrupt picture"),
        ("empty.png", "no picture format matches"),
        ("none.jpg", "no such picture"),
        ("", "found a folder"),
    ):
        with pytest.raises(PictureError, match=message) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_picture_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradient: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(encoded(gradient, "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", gradient.shape[0] * gradient.shape[1] // 3)
    with pytest.raises(PictureError, match="exceeds limit"):
        read_picture(tmp_path / "a.png")


def test_finds_pictures_in_files_and_folders(tmp_path: Path, gradient: np.ndarray) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(encoded(gradient, "PNG"))
    assert find_pictures([tmp_path]) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]
    assert find_pictures([tmp_path / "notes.txt", tmp_path / "b.PNG"]) == [tmp_path / "notes.txt", tmp_path / "b.PNG"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="found none"):
        find_pictures([tmp_path / "empty"])
    with pytest.raises(PictureError, match="no such file or folder"):
        find_pictures([tmp_path / "nowhere"])
