import io
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.transforms import ResizeShortestEdge, ResizeTransform
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image

from keyfpn.detector.errors import PictureError
from keyfpn.detector.prepare import Preprocessor, find_pictures, picture_size, read_picture, resize


def encoded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


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


def test_resizes_as_the_detectors_test_transform(preprocessor: Preprocessor) -> None:
    picture = noise(480, 1000)
    transform = ResizeShortestEdge([384, 384], 640).get_transform(picture)  # as the bundled config says
    assert np.array_equal(preprocessor.resize(picture), transform.apply_image(picture))
    assert preprocessor.network_size((480, 1000)) == (307, 640)
    assert preprocessor.network_size((480, 640)) == (384, 512)


SIDES = st.integers(1, 20_000)


@given(height=SIDES, width=SIDES, short=st.integers(1, 3000), long=st.integers(1, 6000))
@example(height=1, width=65535, short=384, long=640)  # a side would be 0
@example(height=333, width=500, short=800, long=1333)  # the longer side by the limit
def test_sizes_are_detectron2s(height: int, width: int, short: int, long: int) -> None:
    expected = ResizeShortestEdge.get_output_shape(height, width, short, long)
    preprocessor = Preprocessor(short, long, "BGR")
    if 0 in expected:
        with pytest.raises(PictureError, match=f"found {height} x {width} pixels .*which gives {expected[0]} x "):
            preprocessor.network_size((height, width))
    else:
        assert preprocessor.network_size((height, width)) == expected


@given(height=st.integers(1, 90), width=st.integers(1, 90), short=st.integers(1, 60), long=st.integers(1, 120))
def test_pixels_are_detectron2s(height: int, width: int, short: int, long: int) -> None:
    picture = noise(height, width)
    transform = ResizeShortestEdge([short, short], long).get_transform(picture)
    assert isinstance(transform, ResizeTransform)
    assume(transform.new_h and transform.new_w)
    resized = Preprocessor(short, long, "RGB").resize(picture)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, transform.apply_image(picture))


def test_a_short_side_of_0_resizes_nothing_as_in_detectron2() -> None:
    picture = noise(50, 90)
    transform = ResizeShortestEdge([0, 0], 60).get_transform(picture)
    assert np.array_equal(transform.apply_image(picture), picture)
    preprocessor = Preprocessor(0, 60, "BGR")
    assert preprocessor.network_size((50, 90)) == (50, 90)
    assert np.array_equal(preprocessor.resize(picture), picture)


def test_a_picture_of_the_right_size_stays_as_it_is(gradient: np.ndarray) -> None:
    assert np.array_equal(resize(gradient, (40, 60)), gradient)
    assert resize(gradient, (60, 40)).shape == (60, 40, 3)


def test_the_test_transform_of_a_config_is_read() -> None:
    config = {"INPUT": {"MIN_SIZE_TEST": 640, "MAX_SIZE_TEST": 1000, "FORMAT": "RGB"}}
    assert Preprocessor.of_config(config) == Preprocessor(640, 1000, "RGB")


def test_channels_in_the_detectors_order(preprocessor: Preprocessor, gradient: np.ndarray) -> None:
    assert np.array_equal(preprocessor.to_input(gradient), gradient.transpose(2, 0, 1))
    turned = Preprocessor(384, 640, "BGR").to_input(gradient)
    assert np.array_equal(turned, gradient[:, :, ::-1].transpose(2, 0, 1))
    assert turned.dtype == np.uint8
    assert turned.flags.c_contiguous  # torch takes no negative strides


def test_what_is_no_picture_is_named(tmp_path: Path, gradient: np.ndarray) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(encoded(gradient, "JPEG")[:-200])
    (tmp_path / "empty.png").write_bytes(b"")
    for name, message in (
        ("text.jpg", "found something that no picture format matches"),
        ("cut.jpg", "found a corrupt one: "),
        ("empty.png", "found something that no picture format matches"),
        ("none.jpg", "found no file of that name"),
        ("", "found a folder"),
    ):
        with pytest.raises(PictureError, match=f"expected a picture, {message}") as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        if name != "cut.jpg":  # whose header is whole
            with pytest.raises(PictureError, match=f"expected a picture, {message}"):
                picture_size(tmp_path / name)


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
    with pytest.raises(PictureError, match=r"empty: expected pictures \(.*\) in this folder, found none"):
        find_pictures([tmp_path / "empty"])
    with pytest.raises(PictureError, match="nowhere: expected a file or folder, found nothing of that name"):
        find_pictures([tmp_path / "nowhere"])
