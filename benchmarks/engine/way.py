"""A way of getting boxes: what is sent of a picture, and the features that arrive.

picture ──► View ──► Way.send ──► Sent(bytes, features) ──► Detector.detect ──► boxes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from .view import View


@dataclass(frozen=True)
class Sent:
    """What a way sends of one picture, and what the server has then."""

    bytes: int
    features: Mapping[str, Tensor]
    """``p2 … p6`` that arrive, each (1, C, h, w) float32."""
    roi_features: Mapping[str, Tensor] | None = None
    """Another pyramid of the same shapes, for the ROI heads alone. No server has one; it tells what the RPN's part of a
    loss is."""


class Way(Protocol):
    """One way of getting boxes. It travels to worker processes, so it can be pickled."""

    @property
    def key(self) -> str:
        """Names its measurements in the store: equal keys, equal measurements."""

    @property
    def reads_features(self) -> bool:
        """Whether it reads :attr:`View.features`, which take room on the disk."""

    def send(self, view: View) -> Sent:
        """Send one picture."""


@dataclass(frozen=True)
class OriginalFile:
    """The picture's file as it is. The detector that reads it is the unsplit one: the reference of all other ways."""

    key: ClassVar[str] = "original"
    reads_features: ClassVar[bool] = True

    def send(self, view: View) -> Sent:
        return Sent(view.picture.path.stat().st_size, view.features)
