"""The rows of tables: every way of getting boxes that is compared with the others; those of the rate-AP table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from keyfpn.detector.coco import Picture
from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.codec import build_codec, codec_names, identity
from keyfpn.reconstruct.settings import CodecSettings

from .baselines import Anchor, default_anchors

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


Scope = Literal["rpn", "full"]
"""Who works on the rebuilt pyramid: the RPN alone, with the true one at the ROI heads, or both, as on a server."""


class Rebuild(Protocol):
    """Stands in for a codec: what a pyramid is after something was done to it."""

    def __call__(self, features: Mapping[str, Tensor], geometry: Geometry) -> tuple[int, dict[str, Tensor]]:
        """The bytes that it takes, and ``p2 … p6``, of true ones; each (1, C, h, w) float32."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of getting boxes."""

    key: str
    """Names its measurements in the store."""
    how: Anchor | CodecSettings | Rebuild | None
    """None for the original file, which the unsplit detector reads."""
    scope: Scope = "full"


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
    return RateRow(key="original", how=None, family=family, setting="original", size="original", key_levels=None)


def anchor_rows(sizes: Sequence[str]) -> list[RateRow]:
    """Remote inference with every default anchor of some sizes.

    Raises:
        BenchmarkError: no such size, or this Pillow cannot encode one of the families.
    """
    return [
        RateRow(key=str(a), how=a, family=a.family, setting=str(a), size=a.size, key_levels=None)
        for a in default_anchors(sizes)
    ]


def codec_rows(codecs: Sequence[str], model: DetectorModel) -> list[RateRow]:
    """Split inference with each of the codec settings, once.

    Raises:
        ConfigurationError: settings that cannot work with this model.
    """
    rows: dict[str, RateRow] = {}
    for text in codecs:
        codec = build_codec(text, model)
        setting = str(codec.settings)
        # A codec that is published anew is measured anew, and only that one.
        key = f"{setting}@{identity(codec, model)}"
        rows[key] = RateRow(
            key=key, how=codec.settings, family=codec.name, setting=setting, size=None, key_levels=codec.key_levels
        )
    return list(rows.values())
