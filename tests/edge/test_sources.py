"""Frames of pictures, folders, videos and cameras."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from keyfpn.edge.sources import FrameSource
from keyfpn.protocol.frame import Frame

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (240, 240, 240)
HEIGHT, WIDTH = 64, 96


def quadrants() -> np.ndarray:
    """Red at the top left, green at the top right, blue at the bottom left, white at the bottom right."""
    top = np.concatenate([np.full((HEIGHT // 2, WIDTH // 2, 3), c, np.uint8) for c in (RED, GREEN)], axis=1)
    bottom = np.concatenate([np.full((HEIGHT // 2, WIDTH // 2, 3), c, np.uint8) for c in (BLUE, WHITE)], axis=1)
    return np.concatenate([top, bottom])


def corners(picture: np.ndarray) -> list[str]:
    """The names of the colours at the top left, top right, bottom left and bottom right."""
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    height, width, _ = picture.shape
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [min(names, key=lambda n: np.abs(picture[place] - np.array(names[n], int)).sum()) for place in places]


def write_video(path: Path, frames: int, *, matrix: list[int] | None = None, title: str = "") -> Path:
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if matrix:
            stream.set_display_matrix(matrix)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(quadrants(), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_picture(path: Path, shade: int = 0) -> Path:
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(path)
    return path


def read(paths: list[Path], cameras: list[str] | None = None) -> tuple[list[Frame], list[str]]:
    failures: list[str] = []
    return list(FrameSource(paths, cameras or [], report=failures.append)), failures


def ids(frames: list[Frame]) -> dict[str, int]:
    return {frame.name: frame.frame_id for frame in frames}


def test_frames_of_pictures_and_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    paths = [write_picture(tmp_path / "z.png", 1), write_picture(tmp_path / "folder" / "b.png", 2)]
    write_picture(tmp_path / "folder" / "a.png", 3)
    frames, failures = read([paths[0], tmp_path / "folder"])
    assert [(frame.name, int(frame.picture[0, 0, 0])) for frame in frames] == [("z", 1), ("a", 3), ("b", 2)]
    assert not failures
    assert frames[0].picture.shape == (20, 30, 3)
    assert frames[0].duration is None
    assert [frame.capture_time for frame in frames] == sorted(frame.capture_time for frame in frames)


def test_a_file_that_is_a_number_keeps_it_as_its_id(tmp_path: Path) -> None:
    names = ["b", "000000000002", "a", "1", "c"]
    frames, _ = read([write_picture(tmp_path / f"{name}.png") for name in names])
    assert ids(frames) == {"b": 3, "000000000002": 2, "a": 4, "1": 1, "c": 5}


def test_ids_are_unique_where_numbers_are_not(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "1.png", tmp_path / "other" / "1.png", tmp_path / "01.png", tmp_path / f"{10**30}.png"]
    frames, _ = read([write_picture(path) for path in paths])
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4]


def test_a_picture_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "1.png")
    assert len(read([path, tmp_path, path])[0]) == 1


def test_what_cannot_be_read_is_reported_and_passed_over(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:45])
    (tmp_path / "text.jpg").write_text("no picture")
    frames, failures = read([tmp_path, tmp_path / "missing.png", write_picture(tmp_path / "last.png")])
    assert sorted(frame.name for frame in frames) == ["good", "last"]
    assert [failure.split(":")[0] for failure in failures] == [
        str(tmp_path / name) for name in ("missing.png", "cut.png", "text.jpg")
    ]
    assert "expected a file or folder, found nothing of that name" in failures[0]
    assert "expected a picture, found a corrupt one" in failures[1]
    assert "expected a picture, found something that no picture format matches" in failures[2]


def test_frames_of_a_video(tmp_path: Path) -> None:
    frames, failures = read([write_video(tmp_path / "clip.mp4", 4), write_picture(tmp_path / "3.png")])
    assert not failures
    assert ids(frames) == {"clip-000001": 1, "clip-000002": 2, "clip-000003": 4, "clip-000004": 5, "3": 3}
    for frame in frames[:4]:
        assert frame.picture.shape == (HEIGHT, WIDTH, 3)
        assert corners(frame.picture) == ["red", "green", "blue", "white"]
        assert frame.duration == pytest.approx(0.2)


# A display matrix takes (x, y), y down, to (a x + c y, b x + d y); here it is written in 16.16 fixed point, as in ISO
# 14496-12: a b u c d v x y w, with u, v, w in 2.30.
ONE, UNIT = 1 << 16, 1 << 30


@pytest.mark.parametrize(
    ("matrix", "size", "upright"),
    [
        ([0, ONE, 0, -ONE, 0, 0, 0, 0, UNIT], (WIDTH, HEIGHT), ["blue", "red", "white", "green"]),  # right goes down
        ([0, -ONE, 0, ONE, 0, 0, 0, 0, UNIT], (WIDTH, HEIGHT), ["green", "white", "red", "blue"]),  # right goes up
        ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, UNIT], (HEIGHT, WIDTH), ["white", "blue", "green", "red"]),
    ],
)
def test_a_video_is_turned_upright(tmp_path: Path, matrix: list[int], size: tuple[int, int], upright: list) -> None:
    frames, _ = read([write_video(tmp_path / "turned.mp4", 1, matrix=matrix)])
    assert frames[0].picture.shape == (*size, 3)
    assert corners(frames[0].picture) == upright


def test_a_corrupt_video_is_reported(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 3).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[:100])
    (tmp_path / "nocodec.mp4").write_bytes(whole[:-500])  # within the index, before the codec is named
    (tmp_path / "text.mkv").write_text("no video")
    corrupt = [tmp_path / "cut.mp4", tmp_path / "nocodec.mp4", tmp_path / "text.mkv"]
    frames, failures = read([*corrupt, tmp_path / "whole.mp4"])
    assert len(frames) == 3
    assert [failure.split(": ")[0] for failure in failures] == [str(path) for path in corrupt]
    for failure in (failures[0], failures[2]):
        assert "expected a readable video, found one that is not: " in failure
    assert "expected a readable video, found no video stream of a known codec" in failures[1]


def test_a_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", 2, title="Grüße")
    data = path.read_bytes()
    assert "Grü".encode() in data
    path.write_bytes(data.replace("Grü".encode(), "Grü_".encode("latin-1")))
    frames, failures = read([path])
    assert (len(frames), failures) == (2, [])


def test_a_sound_file_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
    found = "expected a readable video, found no video stream of a known codec"
    assert read([path]) == ([], [f"{path}: {found}"])


def test_frames_of_a_camera() -> None:
    # FFmpeg's test picture is an input device like any camera.
    frames, failures = read([], ["lavfi:testsrc=size=64x48:rate=10:duration=0.3"])
    assert not failures
    assert [frame.name for frame in frames] == ["camera-000001", "camera-000002", "camera-000003"]
    assert frames[0].picture.shape == (48, 64, 3)
    assert frames[0].duration == pytest.approx(0.1)


@pytest.mark.parametrize("camera", ["lavfi:nosuchsource", "nosuchformat:device", "/dev/nosuchcamera"])
def test_a_camera_that_is_not_there(camera: str) -> None:
    frames, (failure,) = read([], [camera])
    assert not frames
    assert "expected a readable camera, found " in failure
    assert camera.rpartition(":")[2] in failure


def test_the_total_is_known_for_pictures_alone(tmp_path: Path) -> None:
    pictures = [write_picture(tmp_path / f"{name}.png") for name in "ab"]
    assert FrameSource(pictures, report=print).total == 2
    assert FrameSource([*pictures, write_video(tmp_path / "v.mp4", 1)], report=print).total is None
    assert FrameSource(pictures, ["/dev/video0"], report=print).total is None
    assert not FrameSource([], report=print)
