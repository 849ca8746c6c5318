"""Fits what `raw` and `interpolate` need of a detector, and publishes it with the model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.codec import LEVELS
from keyfpn.reconstruct.fit import ParameterFitter
from keyfpn.reconstruct.layers import REBUILT
from keyfpn.reconstruct.parameters import MIXES_FILE, RANGES_FILE, Mix, Parameters
from keyfpn.training.codecs.publish import published_with_new

MixedLevel = tuple[str, str, str]
"""A rebuilt level, the finer key level and the coarser one that it is mixed from."""


def fit_parameters(model: DetectorModel, pictures: Iterable[Path]) -> Parameters:
    """Fit ranges and mixes to the detector's float32 features.

    Args:
        model: the detector.
        pictures: train pictures; a few hundred are plenty.

    Raises:
        PictureError: one of them cannot be read.
    """
    preprocessor = Preprocessor(model.cfg)
    edge = EdgeHalf(model.build(), REBUILT)
    fitter = ParameterFitter()
    for path in pictures:
        features = edge(preprocessor.to_input(preprocessor.resize(read_picture(path))))
        fitter.add({level: feature.cpu() for level, feature in features.items()})
    return fitter.fit()


def parse_mixes(texts: Iterable[str]) -> dict[MixedLevel, Mix]:
    """Read mixes of levels from their two neighbours, each such as ``p4=0.3224,0.9369``.

    Returns:
        The level with its neighbours, to (a, b) of ``a * up(coarser) + b * down(finer)``.

    Raises:
        ConfigurationError: no level between two others, one that is named twice, or not two finite numbers.
    """
    mixes: dict[MixedLevel, Mix] = {}
    for text in texts:
        level, _, numbers = text.partition("=")
        between = LEVELS[1:-1]
        if level not in between:
            expected = f"a level between two others ({', '.join(between)})"
            raise ConfigurationError(f"--mix {text}", expected, level or "none")
        place = LEVELS.index(level)
        key = (level, LEVELS[place - 1], LEVELS[place + 1])
        if key in mixes:
            raise ConfigurationError(f"--mix {text}", "each level once", f"{level} again")
        mixes[key] = _two_numbers(numbers, text)
    return mixes


def _two_numbers(numbers: str, text: str) -> Mix:
    words = numbers.split(",")
    if len(words) != 2:
        expected = "a level and two numbers, as in p4=0.25,0.5"
        raise ConfigurationError(f"--mix {text}", expected, numbers or "no numbers")
    a, b = (_finite(word, text) for word in words)
    return a, b


def _finite(word: str, text: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"--mix {text}", "finite numbers", word or "none")
    return number + 0.0  # no -0.0, because files and tables have it as text


def publish_parameters(model: DetectorModel, parameters: Parameters, folder: Path) -> Manifest:
    """Write detector and parameters as a model folder, in the place of one that was there.

    Args:
        model: the detector, with all other files of its own folder if it has one.
        parameters: fitted to it.
        folder: where to; appears whole. The model's own folder will do: its fingerprint changes then, so both ends
            need the new files.

    Raises:
        ModelError: the model's own folder is another than when it was opened.
    """
    with published_with_new(model, folder, RANGES_FILE, MIXES_FILE) as partial:
        parameters.write(partial)
    return Manifest.read(folder)
