"""What goes wrong before there are features: the detector's files and the pictures."""


class ModelError(ValueError):
    """A detector cannot be built: no such model, a config it does not support, weights that do not fit."""


class WeightsError(ModelError):
    """A weights file cannot be read safely, or does not hold what it should."""


class PictureError(ValueError):
    """A picture cannot be read: it is missing, corrupt, or no picture at all."""
