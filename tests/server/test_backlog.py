"""What one stream may have waiting on the server, against the simplest model of it: lists."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyfpn.server.backlog import BYTES_AHEAD, FRAMES_AHEAD, Arrival, Backlog


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


SIZES = st.sampled_from([0, 1, 1000, BYTES_AHEAD // 3, BYTES_AHEAD // 2, BYTES_AHEAD - 1, BYTES_AHEAD, 2 * BYTES_AHEAD])


class BacklogMachine(RuleBasedStateMachine):
    """A reader that waits for room and a consumer that waits for frames, in one event loop.

    `waiting` are the packets that were added and not taken, `taken` those in work; the oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.backlog = Backlog()
        self.waiting: list[bytes] = []
        self.taken: list[Arrival] = []
        self.added: list[bytes] = []
        self.answered: list[bytes] = []
        self.closed = False
        self.reader: asyncio.Task[None] | None = None
        self.consumer: asyncio.Task[Arrival | None] | None = None

    def teardown(self) -> None:
        for task in (self.reader, self.consumer):
            if task:
                task.cancel()
        self.settle()
        self.loop.close()

    def settle(self) -> None:
        """Let the tasks run until all of them wait."""

        async def turns() -> None:
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    @property
    def ahead(self) -> list[bytes]:
        return [*(arrival.packet for arrival in self.taken), *self.waiting]

    @property
    def has_room(self) -> bool:
        return len(self.ahead) < FRAMES_AHEAD and sum(map(len, self.ahead)) < BYTES_AHEAD

    @precondition(lambda self: not self.closed and self.reader is None)
    @rule(size=SIZES)
    def add(self, size: int) -> None:
        """As the service: a frame that has come is added, and the next one is read once there is room."""
        if not self.has_room:
            return
        packet = bytes(size)
        self.backlog.add(packet)
        self.added.append(packet)
        self.waiting.append(packet)
        self.reader = self.loop.create_task(self.backlog.room())
        self.pass_on()

    @precondition(lambda self: self.consumer is None)
    @rule()
    def ask_for_the_next(self) -> None:
        self.consumer = self.loop.create_task(self.backlog.next())
        self.pass_on()

    @precondition(lambda self: self.taken)
    @rule(place=st.integers(0, FRAMES_AHEAD))
    def answer(self, place: int) -> None:
        arrival = self.taken.pop(place % len(self.taken))
        self.backlog.answered(arrival)
        self.answered.append(arrival.packet)
        self.pass_on()

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        if self.reader:
            self.reader.cancel()
            self.reader = None
        self.backlog.close()
        self.closed = True
        self.pass_on()

    def pass_on(self) -> None:
        """What the tasks must have got by now, and nothing else."""
        self.settle()
        if self.consumer and self.consumer.done():
            arrival = self.consumer.result()
            self.consumer = None
            if arrival is None:
                assert self.closed
                assert not self.waiting
                self.backlog.close()  # the mark of the end, put back for whoever asks again
            else:
                assert arrival.packet is self.waiting.pop(0)
                assert arrival.time > 0
                self.taken.append(arrival)
        elif self.consumer:
            assert not self.waiting
            assert not self.closed
        if self.reader and self.reader.done():
            self.reader.result()
            self.reader = None
            assert self.has_room
        elif self.reader:
            assert not self.has_room

    @invariant()
    def never_more_than_the_limits(self) -> None:
        assert len(self.ahead) <= FRAMES_AHEAD
        assert sum(map(len, self.ahead[:-1])) < BYTES_AHEAD  # one frame may be larger than the limit, alone or last

    @invariant()
    def nothing_is_lost_and_nothing_comes_twice(self) -> None:
        known = [id(packet) for packet in (*self.answered, *self.ahead) if packet]
        assert sorted(known) == sorted(id(packet) for packet in self.added if packet)
        assert len(self.answered) + len(self.ahead) == len(self.added)

    @invariant()
    def room_is_what_the_model_says(self) -> None:
        asked = self.loop.create_task(self.backlog.room())
        self.settle()
        assert asked.done() == self.has_room
        asked.cancel()
        self.settle()


BacklogMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestAnyOrder = BacklogMachine.TestCase
