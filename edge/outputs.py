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
    """A context manager that completes the files however the run ends."""

    def __init__(self, *, coco: Path | None, jsonl: Path | None, drawings: Path | None) -> None:
        """Open the files, so that a path that cannot be written is found before anything is sent.

        Args:
            coco: COCO's results format; ``image_id`` is the frame id.
            jsonl: one JSON object per frame.
            drawings: a folder for the pictures with their boxes, as JPEG.

        Raises:
            OSError: a path cannot be written.
        """
        with ExitStack() as opening:
            self._coco = opening.enter_context(CocoResults(coco)) if coco else None
            self._jsonl = opening.enter_context(WholeFile(jsonl)) if jsonl else None
            self._drawings = OutputFolder(drawings, ".jpg") if drawings else None
            self._open = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

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
