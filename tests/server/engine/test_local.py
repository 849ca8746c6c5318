"""The engine of this process: a few threads, first come, first served; a stand-in computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Packet
from keyfpn.server.engine.local import LocalEngine
from keyfpn.server.held import HeldModels, UnpackedFrame, Unpacker
from tests.server.services import boxes


class Computing:
    """Stands in for the networks: every frame waits for its gate, then has as many boxes as its packet's width."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.at_once = self.most_at_once = 0
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def detect(self, batch: Sequence[UnpackedFrame]) -> list[Detections]:
        with self._lock:
            self.begun += [frame.image_size[1] for frame in batch]
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(30)
        with self._lock:
            self.at_once -= 1
        return [boxes(frame.image_size[1]) for frame in batch]


@pytest.fixture
def frames(held: HeldModels, make_constant: Callable[..., Packet]) -> list[UnpackedFrame]:
    """Frames that differ in their width: 1, 2 and so on."""
    unpacker = Unpacker(held)
    return [unpacker.unpack(make_constant(image_size=(1, number))) for number in range(1, 9)]


@contextmanager
def engine_of(held: HeldModels, computing: object, workers: int) -> Iterator[LocalEngine]:
    engine = LocalEngine(held, computing, workers=workers)  # type: ignore[arg-type]
    yield engine
    engine.close()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_at_once_as_it_has_workers_the_first_first(
    held: HeldModels, frames: list[UnpackedFrame], workers: int
) -> None:
    computing = Computing()

    async def run(engine: LocalEngine) -> list[Detections]:
        asked = [asyncio.ensure_future(engine.detect(frame)) for frame in frames]
        while len(computing.begun) < workers:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)  # for others, were there any
        assert sorted(computing.begun) == list(range(1, workers + 1))
        computing.gate.set()
        return list(await asyncio.gather(*asked))

    with engine_of(held, computing, workers) as engine:
        assert engine.held is held
        found = asyncio.run(run(engine))
    assert [len(one) for one in found] == list(range(1, 9))  # each its own
    assert computing.most_at_once == workers
    if workers == 1:
        assert computing.begun == list(range(1, 9))


def test_an_error_is_that_frames_alone(held: HeldModels, frames: list[UnpackedFrame]) -> None:
    class Faulty(Computing):
        def detect(self, batch: Sequence[UnpackedFrame]) -> list[Detections]:
            if batch[0].image_size[1] == 2:
                raise MemoryError("no more")
            return super().detect(batch)

    async def run(engine: LocalEngine) -> list[object]:
        return list(await asyncio.gather(*map(engine.detect, frames[:3]), return_exceptions=True))

    computing = Faulty()
    computing.gate.set()
    with engine_of(held, computing, 2) as engine:
        first, second, third = asyncio.run(run(engine))
    assert isinstance(second, MemoryError)
    assert [len(one) for one in (first, third) if isinstance(one, Detections)] == [1, 3]


def test_its_threads_end(held: HeldModels, frames: list[UnpackedFrame]) -> None:
    computing = Computing()
    computing.gate.set()
    engine = LocalEngine(held, computing, workers=2)  # type: ignore[arg-type]
    asyncio.run(engine.detect(frames[0]))
    assert any(thread.name.startswith("inference") for thread in threading.enumerate())
    engine.close()
    assert not any(thread.name.startswith("inference") for thread in threading.enumerate())
