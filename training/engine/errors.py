"""What can stop a training run, apart from the errors of detectors and pictures."""

from __future__ import annotations

from keyfpn.protocol.errors import Error


class TrainingError(Error):
    """A run cannot begin or go on: its folder, its settings, or the division of its data."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, is none of keyfpn's, or belongs to another run."""


class DivergedError(TrainingError):
    """The loss is no finite number any more."""
