"""What goes wrong before there are features: the detector's files and the pictures."""

from keyfpn.protocol.errors import Error


class ModelError(Error):
    """A detector cannot be used: no such model, a config it does not support, files that do not fit."""


class WeightsError(ModelError):
    """A weights file cannot be read safely, or does not hold what it should."""


class PictureError(Error):
    """A picture cannot be used: it is missing, corrupt, no picture at all, or of a shape that no network takes."""
