"""What `raw` and `interpolate` learned from train pictures; part of a published model, like its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.protocol.errors import Error
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.quantization import Ranges

RANGES_FILE, MIXES_FILE = "ranges.safetensors", "mixes.json"

Mix = tuple[float, float]
"""(a, b) of a * up(coarser) + b * down(finer)."""


@dataclass(frozen=True)
class Parameters:
    """Fitted numbers of one detector; empty for a detector that was never fitted."""

    ranges: Mapping[tuple[str, int], Ranges] = field(default_factory=dict)
    """(level, bits) to the range of every channel."""
    mixes: Mapping[tuple[str, str, str], Mix] = field(default_factory=dict)
    """(rebuilt level, finer key level, coarser key level) to the weights of their mix."""

    def write(self, folder: Path) -> None:
        """Write ``ranges.safetensors`` and ``mixes.json`` into a model folder, each whole or not at all."""
        arrays = {}
        for (level, bits), ranges in self.ranges.items():
            arrays[f"{level}.int{bits}.low"] = np.ascontiguousarray(ranges.low)
            arrays[f"{level}.int{bits}.step"] = np.ascontiguousarray(ranges.step)
        mixes = {f"{level} from {finer} and {coarser}": mix for (level, finer, coarser), mix in self.mixes.items()}
        with whole_file(folder / RANGES_FILE) as file:
            file.write_bytes(save(arrays))
        with whole_file(folder / MIXES_FILE) as file:
            file.write_text(json.dumps(mixes, indent=2) + "\n")

    @classmethod
    def of(cls, model: Model) -> Parameters:
        """A model's parameters.

        Raises:
            ModelError: a file is malformed, not the one that was published, or missing from this copy of the model:
                without it, the two ends would compute with other numbers under one fingerprint.
        """
        ranges = model.read(RANGES_FILE) if model.published_with(RANGES_FILE) else None
        mixes = model.read(MIXES_FILE) if model.published_with(MIXES_FILE) else None
        try:
            return Parameters(
                {} if ranges is None else _ranges_of(ranges),
                {} if mixes is None else _mixes_of(mixes),
            )
        except (SafetensorError, Error, ValueError, LookupError, TypeError, AttributeError) as error:
            subject = f"{model.name}, {RANGES_FILE} and {MIXES_FILE}"
            raise ModelError(subject, "what keyfpn-train fit writes", repr(error)) from error


def _ranges_of(data: bytes) -> dict[tuple[str, int], Ranges]:
    arrays = load(data)
    names = {name.rsplit(".", 1)[0] for name in arrays}
    keys = {name: (name.split(".int")[0], int(name.split(".int")[1])) for name in sorted(names)}
    return {(level, bits): Ranges(arrays[f"{n}.low"], arrays[f"{n}.step"], bits) for n, (level, bits) in keys.items()}


def _mixes_of(data: bytes) -> dict[tuple[str, str, str], Mix]:
    mixes = {}
    for name, (a, b) in json.loads(data).items():
        level, _, finer, _, coarser = name.split(" ")
        mixes[level, finer, coarser] = (float(a), float(b))
    return mixes
