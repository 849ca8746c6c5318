"""Pictures, folders, videos and cameras as one sequence of frames."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keyfpn.detector.errors import PictureError
from keyfpn.detector.prepare import find_pictures, read_picture
from keyfpn.protocol.frame import Frame, Picture

from .pipeline import Report

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".ogv")
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class FrameSource:
    """Iterates over the frames of files, folders and cameras; what cannot be read is reported and passed over.

    A file whose stem is a number, as COCO's are, gives a frame of that id; every other frame gets the next number that
    no such file has, from 1.
    """

    def __init__(self, paths: Sequence[Path], cameras: Sequence[str] = (), *, report: Report) -> None:
        """Find the files; nothing is read yet.

        Args:
            paths: pictures, folders of pictures, and videos, told apart by their suffix.
            cameras: FFmpeg input devices as ``DEVICE`` or ``FORMAT:DEVICE``, such as ``/dev/video0``.
            report: is told of every input that fails, here and while iterating.
        """
        self._report = report
        self._cameras = cameras
        found: list[Path] = []
        for path in paths:
            try:
                found += find_pictures([path])
            except PictureError as error:
                report(str(error))
        self._files = list(dict.fromkeys(found))  # each once, however often it was named
        self._numbers = _numbers(self._files)
        taken = set(self._numbers.values())
        self._running = (number for number in itertools.count(1) if number not in taken)

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._files or self._cameras)

    @property
    def total(self) -> int | None:
        """How many frames there are, failures included; None with a video or camera among them."""
        return None if self._cameras or any(map(_is_video, self._files)) else len(self._files)

    def __iter__(self) -> Iterator[Frame]:
        for path in self._files:
            yield from self._guarded(self._video(str(path), path.stem) if _is_video(path) else self._picture(path))
        for camera in self._cameras:
            form, colon, device = camera.partition(":")
            if not colon:
                form, device = _CAMERA_FORMATS.get(sys.platform, "v4l2"), camera
            yield from self._guarded(self._video(device, "camera", form))

    def _guarded(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        try:
            yield from frames
        except PictureError as error:
            self._report(str(error))

    def _picture(self, path: Path) -> Iterator[Frame]:
        picture = read_picture(path)
        number = self._numbers[path] if path in self._numbers else next(self._running)
        yield Frame(path.stem, number, picture, time.time_ns() // 1000)

    def _video(self, location: str, name: str, form: str | None = None) -> Iterator[Frame]:
        for index, (picture, duration) in enumerate(read_video(location, form), start=1):
            yield Frame(f"{name}-{index:06d}", next(self._running), picture, time.time_ns() // 1000, duration)


def read_video(location: str, form: str | None = None) -> Iterator[tuple[Picture, float | None]]:
    """Decode the first video stream, each frame turned upright as the stream's display matrix says.

    Args:
        location: a file, or a device of the input format ``form``.
        form: FFmpeg's name of the format; None finds it out.

    Yields:
        (H, W, 3) uint8 RGB, and seconds per frame by the stream's average rate, None where it has none.

    Raises:
        PictureError: there is no such file or device, it holds no video, or it is corrupt from some frame on.
    """
    import av  # of an extra: who sends pictures does without

    expected = f"a readable {'camera' if form else 'video'}"
    try:
        if form:
            av.ContainerFormat(form, "r")
    except ValueError as error:
        raise PictureError(location, expected, f"an input format that FFmpeg does not know, {form!r}") from error
    try:
        with av.open(location, format=form, metadata_errors="replace") as container:  # titles are not always UTF-8
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:  # PyAV crashes on decoding where it has no codec
                raise PictureError(location, expected, "no video stream of a known codec")
            duration = float(1 / stream.average_rate) if stream.average_rate else None
            for frame in container.decode(stream):
                upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))  # counterclockwise
                yield np.ascontiguousarray(upright), duration
    except av.FFmpegError as error:
        raise PictureError(location, expected, f"one that is not: {error.strerror}") from error


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _numbers(files: Iterable[Path]) -> dict[Path, int]:
    """The pictures whose stem is a number, each number once; 18 digits fit a frame id."""
    first: dict[int, Path] = {}
    for path in files:
        if path.stem.isascii() and path.stem.isdecimal() and len(path.stem) <= 18 and not _is_video(path):
            first.setdefault(int(path.stem), path)
    return {path: number for number, path in first.items()}
