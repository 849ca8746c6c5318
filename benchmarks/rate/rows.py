"""The rows of the rate-AP table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from keyfpn.detector.coco import Picture
from keyfpn.detector.model import Model
from keyfpn.reconstruct.registry import decodable_codecs

from ..engine.codecs import CodecWay
from ..engine.rows import Row
from ..engine.session import ORIGINAL
from .baselines import default_baselines

_SUFFIX_FAMILIES = {"jpg": "jpeg", "tif": "tiff"}


@dataclass(frozen=True, kw_only=True)
class RateRow(Row):
    """A row of the rate-AP table."""

    family: str
    """What it is compared as: ``jpeg``, ``webp``, ``avif``, or the name of a codec."""
    setting: str
    """All that tells it from others of its family."""
    size: str | None
    """Of a sent picture: ``network``, ``0.75``, ``0.5`` or ``original``; None where features are sent."""
    key_levels: tuple[str, ...] | None
    """What is sent of the pyramid; None where a picture is."""


def default_codecs(model: Model) -> list[str]:
    """What every codec of a model sweeps."""
    codecs = sorted(decodable_codecs(model), key=lambda codec: codec.wire_id)
    return [str(settings) for codec in codecs for settings in codec.sweep()]


def original_row(pictures: Sequence[Picture]) -> RateRow:
    """Sending the original file: the detector is the unsplit one, so this row is the reference of all others.

    Its family is the format that most of the files have.
    """
    suffixes = Counter(picture.path.suffix.lower().removeprefix(".") for picture in pictures)
    suffix = suffixes.most_common(1)[0][0]
    family = _SUFFIX_FAMILIES.get(suffix, suffix)
    return RateRow(way=ORIGINAL.way, family=family, setting="original", size="original", key_levels=None)


def baseline_rows(sizes: Sequence[str]) -> list[RateRow]:
    """Remote inference with every default baseline of some sizes.

    Raises:
        BenchmarkError: no such size, or this Pillow cannot encode one of the families.
    """
    return [
        RateRow(way=baseline, family=baseline.family, setting=baseline.key, size=baseline.size, key_levels=None)
        for baseline in default_baselines(sizes)
    ]


def codec_rows(codecs: Sequence[str], model: Model) -> list[RateRow]:
    """Split inference with each of the codec settings, once.

    Raises:
        ConfigurationError: settings that cannot work with this model.
    """
    ways = dict.fromkeys(CodecWay.of(text, model) for text in codecs)
    return [
        RateRow(way=way, family=way.settings.name, setting=str(way.settings), size=None, key_levels=way.key_levels)
        for way in ways
    ]
