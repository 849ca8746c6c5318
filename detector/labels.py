"""``classes.json``: the names and COCO category ids of a model's classes."""

from __future__ import annotations

import json
from pathlib import Path

from keyfpn.protocol.detections import LabelMap
from keyfpn.protocol.files import whole_file

from .errors import ModelError

FILE = "classes.json"


def write_labels(labels: LabelMap, folder: Path) -> None:
    """Write ``classes.json`` into a model folder, whole or not at all."""
    entries = [{"id": number, "name": name} for number, name in zip(labels.category_ids, labels.names, strict=True)]
    with whole_file(folder / FILE) as file:
        file.write_text(json.dumps(entries, indent=1) + "\n")


def parse_labels(data: bytes, subject: str) -> LabelMap:
    """Read the content of ``classes.json``.

    Raises:
        ModelError: it is malformed.
    """
    try:
        entries = json.loads(data)
        return LabelMap(tuple(str(entry["name"]) for entry in entries), tuple(int(entry["id"]) for entry in entries))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(subject, "a list of id and name per class", repr(error)) from error
