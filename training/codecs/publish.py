"""A model with one of its codecs new: a copy of all its other files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model
from keyfpn.detector.torch.publish import publish_detector
from keyfpn.training.engine.folder import whole_folder


@contextmanager
def published_with_new(model: Model, folder: Path, *names: str) -> Iterator[Path]:
    """Write a detector with all files of its own folder, less some, as a model folder.

    Args:
        model: the detector, with all other files of its own folder if it has one.
        folder: where to, the model's own folder too; appears whole, in the place of one that was there.
        names: the files and folders that the block writes.

    Yields:
        The folder to write them into. The manifest is written when the block ends.

    Raises:
        ModelError: the model's own folder is another than when it was opened.
    """
    with whole_folder(folder) as partial:
        if model.folder is None:
            publish_detector(model, partial)
        else:
            shutil.copytree(model.folder, partial, ignore=shutil.ignore_patterns(*names, ".*"))
            _require_unchanged(model, partial)
        yield partial
        replace(Manifest.of_folder(partial), name=folder.absolute().name).write(partial)


def _require_unchanged(model: Model, copy: Path) -> None:
    """Hours may lie between the opening of a model and the end of its codec's training."""
    found, expected = Manifest.of_folder(copy).hashes, model.manifest.hashes
    changed = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    if changed:
        raise ModelError(
            str(model.folder),
            f"the model of fingerprint {model.fingerprint.hex()}, as it was when work on it began",
            f"others in place of {', '.join(sorted(changed))}",
            "Put them back, then try again; a training goes on with --resume.",
        )
