"""What happens to one picture: sent in every way asked for, and detected from what arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from keyfpn.detector.coco import Picture
from keyfpn.detector.detections import Detections
from keyfpn.detector.model import DetectorModel, open_detector
from keyfpn.detector.pictures import Preprocessor, picture_size, read_picture
from keyfpn.detector.split import EdgeHalf, Precision, ServerHalf
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import LEVELS, FeatureCodec, build_codec, codec_of
from keyfpn.reconstruct.settings import CodecSettings

from ..rate.baselines import Anchor, receive
from ..rate.rows import Row
from .features import FeatureCache
from .store import Measurement

# These packets are our own, and of any detector's size: float32 pyramids of large pictures among them.
_LIMITS = Limits(max_packet_bytes=1 << 30)


@dataclass(frozen=True)
class Source:
    """What a process needs to open the detector and the caches for itself."""

    detector: str
    weights: Path | None
    precision: Precision
    features: Path
    """The folder of the feature cache."""


class Measurer:
    """Measures rows on pictures with one detector."""

    def __init__(self, source: Source) -> None:
        """Open the detector, on the CPU.

        Raises:
            ModelError: there is no such detector.
        """
        self.model = open_detector(source.detector, source.weights)
        self.preprocessor = Preprocessor(self.model.cfg)
        self.cache = FeatureCache(source.features, source.precision)
        self._network, self._precision = self.model.build(), source.precision
        self._edge = EdgeHalf(self._network, LEVELS, precision=source.precision)
        self._server = ServerHalf(self._network, precision=source.precision)
        self._codecs: dict[CodecSettings, FeatureCodec] = {}

    def measure(self, picture: Picture, rows: Sequence[Row]) -> list[Measurement]:
        """Measure every row on a picture.

        Raises:
            PictureError: the file is no picture.
        """
        view = _View(self, picture)
        return [self._measure(view, row) for row in rows]

    def _measure(self, view: _View, row: Row) -> Measurement:
        if row.how is None:
            sent, features = view.picture.path.stat().st_size, view.features
        elif isinstance(row.how, Anchor):
            data = row.how.encode(row.how.shrink(view.original, view.network_size))
            sent, features = len(data), self.backbone(receive(data, view.network_size))
        elif isinstance(row.how, CodecSettings):
            data = self._send(view, row.how)
            sent, features = len(data), self._rebuild(data)
        else:
            sent, features = row.how(view.features, view.geometry)
        roi_features = view.features if row.scope == "rpn" else None
        instances = self._server(features, view.network_size, view.image_size, roi_features)
        return Measurement(row.key, view.picture.id, sent, Detections.from_instances(instances))

    def features(self, picture: Picture) -> dict[str, Tensor]:
        """``p2 … p6`` of a picture, from the cache where they are there; the cache has them then.

        Raises:
            PictureError: the file is no picture.
        """
        return _View(self, picture).features

    def backbone(self, picture: np.ndarray) -> dict[str, Tensor]:
        """``p2 … p6`` of a picture of network size, (H, W, 3) uint8 RGB."""
        return self._edge(self.preprocessor.to_input(picture))

    def look(self, picture: np.ndarray, key_levels: Sequence[str]) -> dict[str, Tensor]:
        """Key levels of a picture of network size, by the edge's half made for them."""
        half = EdgeHalf(self._network, key_levels, precision=self._precision)
        return half(self.preprocessor.to_input(picture))

    def _send(self, view: _View, settings: CodecSettings) -> bytes:
        """What the edge puts on the wire."""
        if settings not in self._codecs:
            self._codecs[settings] = build_codec(settings, self.model)
        codec = self._codecs[settings]
        packet = Packet(
            codec=codec.name,
            quality=codec.quality,
            fingerprint=self.model.fingerprint,
            stream_id=0,
            frame_id=view.picture.id,
            capture_time=0,
            image_size=view.image_size,
            network_size=view.network_size,
            chunks=codec.encode(view.key_features(codec.key_levels)),
        )
        return packet.serialize(_LIMITS)

    def _rebuild(self, data: bytes) -> dict[str, Tensor]:
        """The pyramid that the server gets from it, with nothing else at hand than the model."""
        packet = Packet.parse(data, _LIMITS)
        return codec_of(packet, self.model).decode(packet.chunks, self.model.geometry(packet.network_size), _LIMITS)


class _View:
    """A picture as the rows need it, each part made once, and only if it is needed."""

    def __init__(self, measurer: Measurer, picture: Picture) -> None:
        self._measurer = measurer
        self.picture = picture
        self.image_size = picture_size(picture.path)
        self.network_size = measurer.preprocessor.network_size(self.image_size)
        self.geometry = measurer.model.geometry(self.network_size)
        self._below: dict[tuple[str, ...], dict[str, Tensor]] = {}

    @cached_property
    def original(self) -> np.ndarray:
        return read_picture(self.picture.path)

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """What the unsplit detector's backbone makes of the original."""
        cache = self._measurer.cache
        if cache.has(self.picture.id, self.geometry):
            return cache.read(self.picture.id, self.geometry)
        features = self._measurer.backbone(self._measurer.preprocessor.resize(self.original))
        cache.write(self.picture.id, features)
        return features

    def key_features(self, key_levels: tuple[str, ...]) -> Mapping[str, Tensor]:
        """What a codec reads of the original: levels of the pyramid, or what lies below them."""
        if set(key_levels) <= set(LEVELS):
            return self.features
        if key_levels not in self._below:
            resized = self._measurer.preprocessor.resize(self.original)
            self._below[key_levels] = self._measurer.look(resized, key_levels)
        return self._below[key_levels]


def geometries(model: DetectorModel, pictures: Sequence[Picture]) -> list[tuple[int, Geometry]]:
    """Each picture's id and pyramid geometry, from the headers of the files.

    Raises:
        PictureError: a file is no picture.
    """
    preprocessor = Preprocessor(model.cfg)
    return [(p.id, model.geometry(preprocessor.network_size(picture_size(p.path)))) for p in pictures]


_measurer: Measurer


def set_up(source: Source) -> None:
    """Prepare a worker process."""
    global _measurer
    _measurer = Measurer(source)


def measure(picture: Picture, rows: Sequence[Row]) -> list[Measurement]:
    """:meth:`Measurer.measure` in a worker process."""
    return _measurer.measure(picture, rows)


def features(picture: Picture) -> dict[str, Tensor]:
    """:meth:`Measurer.features` in a worker process."""
    return _measurer.features(picture)
