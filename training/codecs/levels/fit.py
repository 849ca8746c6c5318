"""Fits what `raw` and `interpolate` need of a detector, and publishes it with the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.publish import publish_detector
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.reconstruct.key_levels.fit import ParameterFitter
from keyfpn.reconstruct.key_levels.parameters import Parameters


def fit_parameters(model: Model, pictures: Iterable[Path]) -> Parameters:
    """Fit ranges and mixes to the detector's float32 features.

    Args:
        model: the detector.
        pictures: train pictures; a few hundred are plenty.

    Raises:
        PictureError: one of them cannot be read.
    """
    preprocessor = model.preprocessor
    edge = EdgeHalf(build_network(model), ["p2", "p3", "p4", "p5"])
    fitter = ParameterFitter()
    for path in pictures:
        features = edge(preprocessor.to_input(preprocessor.resize(read_picture(path))))
        fitter.add({level: feature.cpu() for level, feature in features.items()})
    return fitter.fit()


def publish(model: Model, parameters: Parameters, folder: Path) -> Manifest:
    """Write detector and parameters as a published model folder, the manifest last.

    A folder that holds the model already gets the parameters and a new manifest: its fingerprint changes, so both ends
    need the new files.
    """
    publish_detector(model, folder)
    parameters.write(folder)
    manifest = Manifest.of_folder(folder)
    manifest.write(folder)
    return manifest
