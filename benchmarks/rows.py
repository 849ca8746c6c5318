"""The rows of the rate-AP table: every way of getting boxes that is compared with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from detector.coco import Picture
from detector.model import DetectorModel
from reconstruct.codec import build_codec
from reconstruct.settings import CodecSettings

from .anchors import Anchor, default_anchors

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
DEFAULT_CODECS = tuple(f"{codec}:{precision}" for codec in ("raw", "interpolate") for precision in _PRECISIONS)


@dataclass(frozen=True)
class Row:
    """One way of getting boxes."""

    family: str
    """What it is compared as: ``jpeg``, ``webp``, ``avif``, or the name of a codec."""
    setting: str
    """All that tells it from others of its family."""
    size: str | None
    """Of a sent picture: ``network``, ``0.75``, ``0.5`` or ``original``; None where features are sent."""
    key_levels: tuple[str, ...] | None
    """What is sent of the pyramid; None where a picture is."""
    key: str
    """Names its measurements in the store."""
    how: Anchor | CodecSettings | None
    """None for the original file, which the unsplit detector reads."""


def original_row(pictures: Sequence[Picture]) -> Row:
    """Sending the original file: the detector is the unsplit one, so this row is the reference of all others.

    Its family is the format that most of the files have.
    """
    suffixes = Counter(picture.path.suffix.lower().removeprefix(".") for picture in pictures)
    suffix = suffixes.most_common(1)[0][0]
    return Row(_SUFFIX_FAMILIES.get(suffix, suffix), "original", "original", None, "original", None)


def anchor_rows(sizes: Sequence[str]) -> list[Row]:
    """Remote inference with every default anchor of some sizes.

    Raises:
        BenchmarkError: no such size, or this Pillow cannot encode one of the families.
    """
    return [Row(a.family, str(a), a.size, None, str(a), a) for a in default_anchors(sizes)]


def codec_rows(codecs: Sequence[str], model: DetectorModel) -> list[Row]:
    """Split inference with each of the codec settings, once.

    Raises:
        ConfigurationError: settings that cannot work with this model.
    """
    rows: dict[str, Row] = {}
    for text in codecs:
        codec = build_codec(text, model)
        setting = str(codec.settings)
        # The fingerprint covers the codec's own files: a model published anew is measured anew.
        key = f"{setting}@{model.fingerprint.hex()}"
        rows[key] = Row(codec.name, setting, None, codec.key_levels, key, codec.settings)
    return list(rows.values())
