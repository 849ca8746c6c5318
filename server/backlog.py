"""The frames of one stream between the socket and the detector."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import NamedTuple

FRAMES_AHEAD = 4
"""Frames that a stream may have on the server, the one in work included."""
BYTES_AHEAD = 8 << 20
"""Bytes of such frames from which on no further one is read: large frames wait at the edge, not in memory."""


class Arrival(NamedTuple):
    """A frame that was received."""

    packet: bytes
    time: float
    """When, on `time.perf_counter`'s clock."""


class Backlog:
    """A queue of frames that knows when it is full. For one reader, one consumer, and one event loop."""

    def __init__(self) -> None:
        """Start empty."""
        self._queue: asyncio.Queue[Arrival | None] = asyncio.Queue()
        self._frames = 0
        self._bytes = 0
        self._room = asyncio.Event()
        self._update()

    def add(self, packet: bytes) -> None:
        """Append a frame that has just been received."""
        self._queue.put_nowait(Arrival(packet, perf_counter()))
        self._frames += 1
        self._bytes += len(packet)
        self._update()

    def close(self) -> None:
        """No more frames will be added."""
        self._queue.put_nowait(None)

    async def room(self) -> None:
        """Wait until another frame may be added."""
        await self._room.wait()

    async def next(self) -> Arrival | None:
        """The frame that has waited longest; None once all are taken and no more will come."""
        return await self._queue.get()

    def answered(self, arrival: Arrival) -> None:
        """A frame makes room."""
        self._frames -= 1
        self._bytes -= len(arrival.packet)
        self._update()

    def _update(self) -> None:
        if self._frames < FRAMES_AHEAD and self._bytes < BYTES_AHEAD:
            self._room.set()
        else:
            self._room.clear()
