"""What can stop a training run, apart from the detector's own errors."""


class TrainingError(ValueError):
    """A run cannot start or go on: its folder, its settings, its data split, or a loss that is no number."""


class CheckpointError(TrainingError):
    """A checkpoint is damaged, is no checkpoint of ours, or is of another run."""
