"""What `send` writes on request: COCO results, JSON Lines and drawings."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from keyfpn.console.drawing import draw
from keyfpn.console.records import json_line
from keyfpn.console.results import CocoResults, OutputFolder, WholeFile

from .in_flight import Answer
from .pipeline import EncodedFrame
from .records import answer_record

PACKET_SUFFIX = ".kfpn"


class ResultFiles:
    """A context manager that opens the files, and completes them however the run ends."""

    def __init__(self, *, coco: Path | None, jsonl: Path | None, drawings: Path | None) -> None:
        """Name the files; nothing is opened yet.

        Args:
            coco: COCO's results format; ``image_id`` is the frame id.
            jsonl: one JSON object per frame.
            drawings: a folder for the pictures with their boxes, as JPEG.

        Raises:
            ResultError: no file can be there.
        """
        self._coco = CocoResults(coco) if coco else None
        self._jsonl = WholeFile(jsonl) if jsonl else None
        self._files = [file for file in (self._coco, self._jsonl) if file]
        self._folder = drawings
        self._drawings: OutputFolder | None = None

    def __enter__(self) -> Self:
        """Open the files, so that a path that cannot be written is found before anything is sent.

        Raises:
            OSError: a path cannot be written.
        """
        with ExitStack() as opening:
            for file in self._files:
                file.__enter__()
                opening.callback(file.discard)  # where another cannot be opened, a run's results of before stay
            self._drawings = OutputFolder(self._folder, ".jpg") if self._folder else None
            opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as completing:
            for file in self._files:
                completing.push(file)

    def add(self, sent: EncodedFrame, answer: Answer) -> None:
        """Take the answer to a frame.

        Raises:
            ResultError: two frames of the same id or name.
            OSError: no space, for instance.
        """
        if self._jsonl:
            self._jsonl.write(json_line(answer_record(sent, answer)) + "\n")
        if answer.detections is None:
            return
        if self._coco:
            self._coco.add(answer.detections, sent.frame.frame_id, sent.frame.name)
        if self._drawings:
            drawing = io.BytesIO()
            draw(answer.detections, sent.frame.picture).save(drawing, format="JPEG", quality=92)
            self._drawings.write(sent.frame.name, drawing.getvalue())
