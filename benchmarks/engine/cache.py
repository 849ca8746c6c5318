"""Where the measurements and the features of a detector on a data set are kept."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from keyfpn.detector.model import CONFIG_FILE, WEIGHTS_FILE, Model
from keyfpn.detector.precision import Precision

_DETECTOR_FILES = (CONFIG_FILE, WEIGHTS_FILE, "config", "weights")  # the latter two of a bare config


def cache_folder(root: Path, model: Model, precision: Precision, annotations: Path) -> Path:
    """The folder, below ``root``, of what can be kept for a detector on a data set.

    A codec's files count for nothing here, so that a published model with a new codec keeps the rows that need none;
    neither do threads. The versions of Pillow and torch do: their encoders and kernels make the numbers.
    """
    identity = {
        "detector": {name: digest for name, digest in model.manifest.hashes.items() if name in _DETECTOR_FILES},
        "precision": precision,
        "annotations": hashlib.sha256(annotations.read_bytes()).hexdigest(),
        "versions": {package: version(package) for package in ("pillow", "torch")},
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return root / f"{model.name}-{precision}-{key}"
