"""The rows of the rate-AP table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from keyfpn.detector.coco import Picture
from keyfpn.detector.model import DetectorModel
from keyfpn.reconstruct.codec import build_codec, codec_names

from ..engine.codecs import CodecWay
from ..engine.rows import Row
from ..engine.session import ORIGINAL
from .baselines import default_baselines

_SUFFIX_FAMILIES = {"jpg": "jpeg", "tif": "tiff"}
# zstd next to ans where the study could have used it: on floats, and on the widest and the usual integers.
_PRECISIONS = (
    "precision=fp32",
    "precision=fp16",
    "precision=fp32,coder=zstd",
    *(f"precision=int{bits}" for bits in (8, 6, 5, 4, 3, 2)),
    "precision=int8,coder=zstd",
    "precision=int4,coder=zstd",
)
_NETWORK_PRECISIONS = ("precision=fp32", *(f"precision=int{bits}" for bits in (8, 4, 3, 2)))


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


def default_codecs(model: DetectorModel) -> list[str]:
    """Settings of all codecs that a model has the files of."""
    codecs = [f"{codec}:{precision}" for codec in ("raw", "interpolate") for precision in _PRECISIONS]
    if "network" in codec_names(model):
        codecs += [f"network:{precision}" for precision in _NETWORK_PRECISIONS]
    if "learned" in codec_names(model):
        qualities = build_codec("learned", model).qualities
        codecs += [f"learned:quality={quality}" for quality in range(1, qualities + 1)]
    return codecs


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


def codec_rows(codecs: Sequence[str], model: DetectorModel) -> list[RateRow]:
    """Split inference with each of the codec settings, once.

    Raises:
        ConfigurationError: settings that cannot work with this model.
    """
    ways = dict.fromkeys(CodecWay.of(text, model) for text in codecs)
    return [
        RateRow(way=way, family=way.settings.name, setting=str(way.settings), size=None, key_levels=way.key_levels)
        for way in ways
    ]
