"""A trained detector as a model folder that ``detector.model.open_detector`` opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from torch import Tensor, nn

from detector.manifest import Manifest
from detector.model import CONFIG_FILE, DetectorModel, open_detector
from detector.publish import write_weights

CARD = "README.md"


def publish(
    network: nn.Module,
    config: str,
    folder: Path,
    *,
    name: str,
    device: str,
    describe: Callable[[DetectorModel], str],
) -> None:
    """Write config, weights, manifest and model card.

    Args:
        network: the trained detector.
        config: its config, from :func:`portable_config`.
        folder: where to; appears whole, in the place of one that was there.
        name: for the manifest.
        device: where ``describe`` gets the model.
        describe: makes the model card's text; gets the model as it was written, so that it can be measured.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / CONFIG_FILE).write_text(config)
    write_weights(half_precision(network.state_dict()), partial)
    replace(Manifest.of_folder(partial), name=name).write(partial)
    (partial / CARD).write_text(describe(open_detector(str(partial), device=device)))
    _put_in_place(partial, folder)


def portable_config(cfg: CfgNode, category_ids: Sequence[int]) -> str:
    """The whole config as YAML, less what belongs to this machine.

    Args:
        cfg: the config that was trained.
        category_ids: the category id of each class index. A test data set of other categories is left out of the
            config: it would give the classes names that they have not.
    """
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.DEVICE, plain.MODEL.WEIGHTS, plain.OUTPUT_DIR = "cpu", "", ""
    plain.DATASETS.TEST = tuple(name for name in cfg.DATASETS.TEST if _known_ids(name) == list(category_ids))
    return plain.dump()


def half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in float16; BatchNorm statistics, whose range is wide, stay as they are."""
    return {
        name: (value if "running_" in name or not value.is_floating_point() else value.half()).cpu()
        for name, value in state.items()
    }


def _known_ids(data_set: str) -> list[int] | None:
    if data_set not in MetadataCatalog:
        return None
    return sorted(MetadataCatalog.get(data_set).get("thing_dataset_id_to_contiguous_id", {}))


def _put_in_place(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
