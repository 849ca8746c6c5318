"""A picture as the ways of sending it need it, each part made once, and only if it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from keyfpn.detector.coco import Picture
from keyfpn.detector.prepare import picture_size, read_picture

from .detector import Detector
from .features import FeatureCache


class View:
    """One picture before one detector.

    Attributes:
        detector: what sees it.
        picture: the file.
        image_size: (height, width) of the file.
        network_size: (height, width) of the network's input, before padding.
        geometry: the shapes of the pyramid.
    """

    def __init__(self, detector: Detector, cache: FeatureCache, picture: Picture) -> None:
        """Read the file's header.

        Args:
            detector: what sees the picture.
            cache: keeps the features of its unsplit backbone.
            picture: the file.

        Raises:
            PictureError: the file is no picture.
        """
        self.detector = detector
        self.picture = picture
        self.image_size = picture_size(picture.path)
        self.network_size = detector.preprocessor.network_size(self.image_size)
        self.geometry = detector.model.geometry(self.network_size)
        self._cache = cache
        self._below: dict[tuple[str, ...], dict[str, Tensor]] = {}

    @cached_property
    def original(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB. Raises PictureError where the file is no picture."""
        return read_picture(self.picture.path)

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """``p2 … p6`` that the unsplit detector's backbone makes of the original; the cache has them then."""
        if self._cache.has(self.picture.id, self.geometry):
            return self._cache.read(self.picture.id, self.geometry)
        features = self.detector.backbone(self._resized)
        self._cache.write(self.picture.id, features)
        return features

    def key_features(self, key_levels: tuple[str, ...]) -> Mapping[str, Tensor]:
        """What an encoder reads of the original: levels of the pyramid, or what lies below them."""
        if set(key_levels) <= set(self.geometry.levels):
            return self.features
        if key_levels not in self._below:
            self._below[key_levels] = self.detector.look(self._resized, key_levels)
        return self._below[key_levels]

    @property
    def _resized(self) -> NDArray[np.uint8]:
        return self.detector.preprocessor.resize(self.original)
