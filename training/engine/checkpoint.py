"""A training run's state, and its checkpoint: written whole or not at all, read without running what it says."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from keyfpn.protocol.files import whole_file

from .errors import CheckpointError

_FORMAT = "keyfpn training checkpoint 1"
_PARTS = ("model", "average", "optimizer")


@dataclass
class TrainingState:
    """All that a run needs in order to go on.

    No state of a random generator is in it: every draw of a step is seeded with the run's seed and the step's number.
    """

    model: nn.Module
    average: AveragedModel
    optimizer: Optimizer
    learning_rate: Callable[[int, float], float]
    """The part of the full learning rate that a step takes, from its number and the part of the run that is done."""
    clip_norm: float = math.inf
    """The greatest 2-norm of the gradient of all parameters."""
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Wall-clock time spent so far, over all processes that worked on the run."""

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("full_lr", group["lr"])

    def descend(self, loss: Tensor, done: float) -> float:
        """Take one optimizer step down the gradient of a scalar loss.

        Args:
            loss: what is descended.
            done: the part of the run that lies behind this step, 0 to 1.

        Returns:
            The greatest learning rate of all parameters.
        """
        part = self.learning_rate(self.step, done)
        for group in self.optimizer.param_groups:
            group["lr"] = part * group["full_lr"]
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return max(group["lr"] for group in self.optimizer.param_groups)

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            path: the file; what stood there stays until the new one is whole on disk.
            settings: what makes this run this run, in numbers, text and containers of them.
        """
        checkpoint = {name: getattr(self, name).state_dict() for name in _PARTS} | {
            "format": _FORMAT,
            "settings": dict(settings),
            "step": self.step,
            "seconds": self.seconds,
        }
        with whole_file(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def restore(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Take a checkpoint's state in place.

        Args:
            path: the file that :meth:`save` wrote.
            settings: the settings that the run is now asked to go on with.

        Raises:
            CheckpointError: there is none, it is damaged or no checkpoint of ours, or its settings are others.
        """
        checkpoint = _read(path)
        _compare(path, checkpoint["settings"], settings)
        try:
            for name in _PARTS:
                getattr(self, name).load_state_dict(checkpoint[name])
            self.step, self.seconds = int(checkpoint["step"]), float(checkpoint["seconds"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: the checkpoint does not fit the network: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: expected the checkpoint of a run to resume, found none")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load takes damaged tensors without complaint
            damaged = archive.testzip()
        if damaged is None:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}; start the run again") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged: the checksum of {damaged} does not match; start the run again")
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: expected a checkpoint that keyfpn-train wrote, found another file")
    return checkpoint


def _compare(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    differences = [
        f"{name} is {found.get(name)!r} there, {expected.get(name)!r} now"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise CheckpointError(
            f"{path}: a checkpoint of another run: {'; '.join(differences)}; resume with the run's own options"
        )
