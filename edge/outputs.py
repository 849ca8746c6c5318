"""What the commands write: packets, COCO results, JSON Lines and drawings, each whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from typing_extensions import Self

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.files import whole_file

from .in_flight import Answer
from .records import answer_record, json_line

PACKET_SUFFIX = ".kfpn"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with whole_file(path) as temporary, temporary.open("wb") as file:
        yield file


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
            ValueError: another frame of this run had the same name.
            OSError: no space, for instance.
        """
        path = self._folder / f"{name}{self._suffix}"
        if name in self._names:
            raise ValueError(f"{path} was written for another input of that name: give each its own run and folder")
        self._names.add(name)
        with whole_file(path) as file:
            file.write_bytes(data)
        return path


class ResultFiles:
    """What `send` writes on request; a context manager that completes the files however the run ends."""

    def __init__(self, model: DetectorModel, *, coco: Path | None, jsonl: Path | None, draw: Path | None) -> None:
        """Open the files, so that a path that cannot be written is found before anything is sent.

        Args:
            model: gives names and COCO ids of the classes.
            coco: COCO's results format, for pycocotools' ``loadRes``; ``image_id`` is the frame id.
            jsonl: one JSON object per frame.
            draw: a folder for the pictures with the boxes of score 0.5 and above, as JPEG.

        Raises:
            OSError: a path cannot be written.
        """
        self._model = model
        self._results: list[dict[str, Any]] = []
        self._open = ExitStack()
        with ExitStack() as opening:
            self._coco = opening.enter_context(_opened(coco)) if coco else None
            self._jsonl = opening.enter_context(_opened(jsonl)) if jsonl else None
            self._drawings = OutputFolder(draw, ".jpg") if draw else None
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as closing:
            closing.callback(self._open.close)
            if self._coco:
                self._coco.write(json.dumps(self._results).encode())

    def add(self, answer: Answer) -> None:
        """Take an answer.

        Raises:
            ValueError: two drawings of the same name.
            OSError: no space, for instance.
        """
        if self._jsonl:
            self._jsonl.write(json_line(answer_record(answer, self._model.class_names)).encode() + b"\n")
            self._jsonl.flush()
        if answer.detections is None:
            return
        frame = answer.sent.frame
        if self._coco:
            self._results += answer.detections.to_coco(frame.frame_id, self._model.category_ids)
        if self._drawings:
            drawing = io.BytesIO()
            answer.detections.draw(frame.picture, self._model.class_names).save(drawing, format="JPEG", quality=92)
            self._drawings.write(frame.name, drawing.getvalue())
