"""The seam between the service and what computes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from keyfpn.protocol.detections import Detections

from ..held import HeldModels, UnpackedFrame


class Engine(ABC):
    """Rebuilds pyramids and detects; owns its threads, batches and devices. Used from one event loop.

    Attributes:
        held: the models that it has loaded.
    """

    held: HeldModels

    @abstractmethod
    async def detect(self, frame: UnpackedFrame) -> Detections:
        """Find the objects of a frame; frames of one stream are given one after the other."""

    @abstractmethod
    def close(self) -> None:
        """End its threads; no frame is waiting any more."""
