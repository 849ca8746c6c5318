"""What a detector's class indices mean: a name and a COCO category id each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from keyfpn.protocol.files import whole_file

from .errors import ModelError

FILE = "classes.json"


@dataclass(frozen=True)
class Classes:
    """Names and category ids, by class index."""

    names: Sequence[str]
    category_ids: Sequence[int]

    def write(self, folder: Path) -> None:
        """Write ``classes.json`` into a model folder."""
        pairs = zip(self.category_ids, self.names, strict=True)
        with whole_file(folder / FILE) as file:
            file.write_text(json.dumps([{"id": number, "name": name} for number, name in pairs], indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Classes:
        """Read ``classes.json``.

        Raises:
            ModelError: it is malformed.
            FileNotFoundError: it is missing.
        """
        try:
            entries = json.loads((folder / FILE).read_bytes())
            return cls([str(entry["name"]) for entry in entries], [int(entry["id"]) for entry in entries])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder / FILE}: expected a list of id and name per class: {error!r}") from error

    @classmethod
    def of_config(cls, cfg: CfgNode) -> Classes:
        """Those of the config's test data set, where detectron2 knows it; else ``class 0 …`` with ids 1 … n."""
        count = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        # Only data sets that detectron2 already knows: asking for another would register an empty one.
        known = [name for name in cfg.DATASETS.TEST if name in MetadataCatalog]
        metadata = MetadataCatalog.get(known[0]).as_dict() if known else {}
        names, index_of = metadata.get("thing_classes", []), metadata.get("thing_dataset_id_to_contiguous_id", {})
        if len(names) == len(index_of) == count:
            return cls(list(names), sorted(index_of, key=index_of.__getitem__))
        return cls([f"class {index}" for index in range(count)], list(range(1, count + 1)))
