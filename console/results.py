"""The files that commands write: one per frame, or all frames in one; each whole or not at all."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from typing_extensions import Self

from keyfpn.protocol.detections import Detections
from keyfpn.protocol.errors import Error
from keyfpn.protocol.files import whole_file


class ResultError(Error):
    """A result that cannot be kept: there is no folder for it, or another of its run has the same name or id."""


class OutputFolder:
    """A folder with one file per frame, named after the frame."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Make the folder.

        Raises:
            OSError: it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._suffix = folder, suffix
        self._names: set[str] = set()

    def write(self, name: str, data: bytes) -> Path:
        """Write a frame's file.

        Raises:
            ResultError: another frame of this run had the same name.
            OSError: no space, for instance.
        """
        path = self._folder / f"{name}{self._suffix}"
        if name in self._names:
            hint = "Give each input its own run and folder."
            raise ResultError(str(path), "a name for each frame of the run", "one that another input has too", hint)
        self._names.add(name)
        with whole_file(path) as file:
            file.write_bytes(data)
        return path


class WholeFile:
    """A file that is written bit by bit, and appears whole when the block ends, however the block ends.

    It is opened first, so that a path that cannot be written is found before there is any work. Where its end cannot be
    written, it does not appear.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is opened yet.

        Raises:
            ResultError: no file can be there.
        """
        if path.is_dir() or not path.parent.is_dir():
            found = "a folder of that name" if path.is_dir() else f"no folder {path.parent}"
            raise ResultError(str(path), "a file in a folder that exists", found)
        self._path = path
        self._file: BinaryIO
        self._opened: ExitStack

    def __enter__(self) -> Self:
        """Raises OSError where the file cannot be written."""
        with ExitStack() as opening:
            temporary = opening.enter_context(whole_file(self._path))
            self._file = opening.enter_context(temporary.open("wb"))
            self._opened = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An error of the block is none of the file's: what was answered before is kept. One of the end itself is.
        with self._opened:
            self.finish()

    def finish(self) -> None:
        """Write what is still missing."""

    def discard(self) -> None:
        """Give up what was written: what stood under the file's name stays."""
        self._opened.__exit__(GeneratorExit, GeneratorExit(), None)

    def write(self, text: str) -> None:
        """Append text, at once on the disk."""
        self._file.write(text.encode())
        self._file.flush()


class CocoResults(WholeFile):
    """COCO's results format, for pycocotools' ``loadRes``; ``image_id`` is the frame id."""

    def __init__(self, path: Path) -> None:
        """Name the file.

        Raises:
            ResultError: no file can be there.
        """
        super().__init__(path)
        self._results: list[dict[str, Any]] = []
        self._sources: dict[int, str] = {}

    def add(self, found: Detections, frame_id: int, source: str) -> None:
        """Add a frame's objects.

        Args:
            found: with a label map.
            frame_id: of the frame.
            source: where the frame is from, in words.

        Raises:
            ResultError: another frame had the same id, so that the file would mix up their boxes.
        """
        first = self._sources.setdefault(frame_id, source)
        if first != source:
            raise ResultError(f"{self._path}, frame id", "one frame of each id", f"{frame_id} of {first} and {source}")
        self._results += found.to_coco(frame_id)

    def finish(self) -> None:
        self.write(json.dumps(self._results))
