"""The names and COCO category ids of a model's classes: ``classes.json``, or COCO's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfpn.protocol.detections import LabelMap
from keyfpn.protocol.files import whole_file

from .errors import ModelError

FILE = "classes.json"
_COCO = Path(__file__).with_name("coco80.json")


def write_labels(labels: LabelMap, folder: Path) -> None:
    """Write ``classes.json`` into a model folder, whole or not at all."""
    entries = [{"id": number, "name": name} for number, name in zip(labels.category_ids, labels.names, strict=True)]
    with whole_file(folder / FILE) as file:
        file.write_text(json.dumps(entries, indent=1) + "\n")


def labels_of_data(config: Mapping[str, Any]) -> LabelMap | None:
    """COCO's classes where a detector was made for them; None for other data.

    Args:
        config: of a published detector, as in its YAML file.
    """
    tested = config.get("DATASETS", {}).get("TEST", [])
    count = config.get("MODEL", {}).get("ROI_HEADS", {}).get("NUM_CLASSES", 80)
    if count != 80 or not tested or not str(tested[0]).startswith(("coco_2014_", "coco_2017_")):
        return None
    return parse_labels(_COCO.read_bytes(), str(_COCO))


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
