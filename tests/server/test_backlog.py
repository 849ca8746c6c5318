"""What one stream may have waiting on the server."""

from __future__ import annotations

import asyncio

from keyfpn.server.backlog import BYTES_AHEAD, FRAMES_AHEAD, Backlog


async def _has_room(backlog: Backlog) -> bool:
    try:
        await asyncio.wait_for(backlog.room(), 0.01)
    except asyncio.TimeoutError:
        return False
    return True


def test_holds_a_few_small_frames() -> None:
    async def run() -> None:
        backlog = Backlog()
        for number in range(FRAMES_AHEAD):
            assert await _has_room(backlog)
            backlog.add(bytes([number]))
        backlog.close()
        assert not await _has_room(backlog)
        taken = []
        while (arrival := await backlog.next()) is not None:
            taken.append(arrival)
        assert [arrival.packet for arrival in taken] == [bytes([number]) for number in range(FRAMES_AHEAD)]
        assert not await _has_room(backlog)  # a frame in work still takes its place
        backlog.answered(taken[0])
        assert await _has_room(backlog)

    asyncio.run(run())


def test_holds_one_large_frame() -> None:
    async def run() -> None:
        backlog = Backlog()
        backlog.add(bytes(BYTES_AHEAD))
        assert not await _has_room(backlog)
        large = await backlog.next()
        assert large is not None
        backlog.answered(large)
        assert await _has_room(backlog)

    asyncio.run(run())
