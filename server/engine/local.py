"""The engine that computes in this process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from keyfpn.protocol.detections import Detections

from ..held import HeldModels, UnpackedFrame
from .base import Engine
from .inference import Inference


class LocalEngine(Engine):
    """One frame at a time in each of a few threads, first come, first served: torch lets go of the GIL."""

    def __init__(self, held: HeldModels, inference: Inference, *, workers: int) -> None:
        """Start the threads.

        Args:
            held: the models.
            inference: their networks.
            workers: frames in work at the same time.
        """
        self.held, self._inference = held, inference
        self._pool = ThreadPoolExecutor(workers, "inference")

    async def detect(self, frame: UnpackedFrame) -> Detections:
        (found,) = await asyncio.get_running_loop().run_in_executor(self._pool, self._inference.detect, [frame])
        return found

    def close(self) -> None:
        self._pool.shutdown()
