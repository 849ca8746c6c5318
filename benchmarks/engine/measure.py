"""What worker processes do with one picture: send it in every way asked for, and detect from what arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from keyfpn.detector.coco import Picture
from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.detector.prepare import picture_size
from keyfpn.protocol.geometry import Geometry

from .detector import Detector
from .errors import BenchmarkError
from .features import FeatureCache
from .store import Measurement
from .view import View
from .way import Way


@dataclass(frozen=True)
class Source:
    """What a process needs to open the detector and the cache for itself."""

    detector: str
    weights: Path | None
    precision: Precision
    features: Path
    """The folder of the feature cache."""
    fingerprint: bytes
    """Of the model: one that was published again meanwhile is another."""


def measure(source: Source, picture: Picture, ways: Sequence[Way]) -> list[Measurement]:
    """Measure every way on a picture, in a worker process.

    Raises:
        PictureError: the file is no picture.
    """
    return measure_view(_view(source, picture), ways)


def features(source: Source, picture: Picture) -> dict[str, Tensor]:
    """``p2 … p6`` of a picture, in a worker process; from the cache where they are there, and there from now on.

    Raises:
        PictureError: the file is no picture.
    """
    return _view(source, picture).features


def measure_view(view: View, ways: Sequence[Way]) -> list[Measurement]:
    """Send a picture in every way, and detect from what arrives."""
    return [_measure(view, way) for way in ways]


def geometries(model: Model, pictures: Sequence[Picture]) -> list[tuple[int, Geometry]]:
    """Each picture's id and pyramid geometry, from the headers of the files.

    Raises:
        PictureError: a file is no picture.
    """
    return [(p.id, model.geometry(model.preprocessor.network_size(picture_size(p.path)))) for p in pictures]


def _measure(view: View, way: Way) -> Measurement:
    sent = way.send(view)
    found = view.detector.detect(sent.features, view.network_size, view.image_size, sent.roi_features)
    return Measurement(way.key, view.picture.id, sent.bytes, found)


def _view(source: Source, picture: Picture) -> View:
    detector = _detector(source.detector, source.weights, source.precision, source.fingerprint)
    return View(detector, FeatureCache(source.features, source.precision, detector.model.pyramid), picture)


@lru_cache(maxsize=1)
def _detector(detector: str, weights: Path | None, precision: Precision, fingerprint: bytes) -> Detector:
    torch.set_num_threads(1)  # so that a picture's answer is the same with any number of workers
    opened = Detector(detector, weights, precision)
    if opened.model.fingerprint != fingerprint:
        hint = "It was published again meanwhile: give the same command once more."
        raise BenchmarkError(f"model {detector}", fingerprint.hex(), opened.model.fingerprint.hex(), hint)
    return opened
