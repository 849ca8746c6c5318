"""Fits what `raw` and `interpolate` need of a detector, and publishes it with the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.key_levels.fit import ParameterFitter
from keyfpn.reconstruct.key_levels.parameters import MIXES_FILE, RANGES_FILE, Mix, Parameters
from keyfpn.training.codecs.publish import published_with_new

MixedLevel = tuple[str, str, str]
"""A rebuilt level, the finer key level and the coarser one that it is mixed from."""


def fit_parameters(model: Model, pictures: Iterable[Path], device: str = "cpu") -> Parameters:
    """Fit ranges and mixes to the detector's float32 features.

    Args:
        model: the detector.
        pictures: train pictures; a few hundred are plenty.
        device: where to compute, as torch names devices.

    Raises:
        ModelError: there is no such device, or the detector cannot be built.
        PictureError: one of them cannot be read.
    """
    prepare = model.preprocessor
    edge = EdgeHalf(build_network(model, device), model.pyramid.independent)
    fitter = ParameterFitter(model.pyramid)
    for path in pictures:
        features = edge(prepare.to_input(prepare.resize(read_picture(path))))
        fitter.add({level: feature.cpu() for level, feature in features.items()})
    return fitter.fit()


def parse_mixes(texts: Iterable[str], levels: Sequence[str]) -> dict[MixedLevel, Mix]:
    """Read mixes of levels from their two neighbours.

    Args:
        texts: each such as ``p4=0.3224,0.9369``.
        levels: of the pyramid, fine to coarse.

    Returns:
        The level with its neighbours, to (a, b) of ``a * up(coarser) + b * down(finer)``.

    Raises:
        ConfigurationError: no level between two others, one that is named twice, or not two finite numbers.
    """
    mixes: dict[MixedLevel, Mix] = {}
    for text in texts:
        level, _, numbers = text.partition("=")
        between = levels[1:-1]
        if level not in between:
            expected = f"a level between two others ({', '.join(between)})"
            raise ConfigurationError(f"--mix {text}", expected, level or "none")
        place = levels.index(level)
        key = (level, levels[place - 1], levels[place + 1])
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


def publish_parameters(model: Model, parameters: Parameters, folder: Path) -> Manifest:
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
