"""What a client has in flight, against the simplest model of it: a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet  # builtin from Python 3.11 on
from itertools import islice

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keyfpn.edge.in_flight import InFlight
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.detections import LabelMap
from keyfpn.protocol.errors import InvalidField, LimitExceeded
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet

LABELS = LabelMap(("person",), (1,))
IDS = st.tuples(st.integers(1, 2), st.integers(0, 3))
"""Few, so that a packet is often sent while another of the same ids is unanswered."""


def packet_of(ids: tuple[int, int], number: int = 0) -> Packet:
    """A packet that carries no level; ``number`` tells it from others of the same ids."""
    return Packet(
        codec="raw",
        quality=0,
        fingerprint=bytes(8),
        stream_id=ids[0],
        frame_id=ids[1],
        capture_time=number,
        image_size=(1, 1),
        network_size=(1, 1),
        chunks=(),
    )


def result(ids: tuple[int, int] = (0, 0), **outcome: object) -> wire.FrameResult:
    return wire.FrameResult(stream_id=ids[0], frame_id=ids[1], **(outcome or {"detections": {}}))


class InFlightMachine(RuleBasedStateMachine):
    """Sends and answers in any order; `unanswered` is what must be in flight, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered: list[Packet] = []
        self.sent = self.answered = 0
        self.ended = self.stopped = False

    @initialize(limit=st.integers(1, 4))
    def start(self, limit: int) -> None:
        self.limit = limit
        self.source: list[Packet | None] = []
        self.in_flight = InFlight(
            iter(lambda: self.source.pop(), None), limit=limit, labels=LABELS, limits=DEFAULT_LIMITS
        )
        self.requests = self.in_flight.requests()

    def next_packet(self, ids: tuple[int, int]) -> Packet:
        self.sent += 1
        packet = packet_of(ids, self.sent)
        self.source.append(packet)
        return packet

    def answer(self, packet: Packet, ids: tuple[int, int]) -> None:
        assert self.in_flight.answer(result(ids)).sent is packet
        self.unanswered.remove(packet)
        self.answered += 1

    def has_room(self) -> bool:
        return not self.ended and not self.stopped and len(self.unanswered) < self.limit

    def is_full(self) -> bool:
        return not self.ended and not self.stopped and len(self.unanswered) == self.limit

    @precondition(has_room)
    @rule(ids=IDS)
    def send(self, ids: tuple[int, int]) -> None:
        packet = self.next_packet(ids)
        assert next(self.requests).packet == packet.serialize()
        self.unanswered.append(packet)

    @precondition(is_full)
    @rule(ids=IDS, place=st.integers(0, 3))
    def send_beyond_the_limit(self, ids: tuple[int, int], place: int) -> None:
        packet = self.next_packet(ids)
        with ThreadPoolExecutor(1) as grpc_thread:
            sending = grpc_thread.submit(next, self.requests)
            with pytest.raises(NotYet):
                sending.result(timeout=0.005)
            self.answer_any(place)
            assert sending.result(timeout=10).packet == packet.serialize()
        self.unanswered.append(packet)

    @precondition(is_full)
    @rule(ids=IDS)
    def stop_beyond_the_limit(self, ids: tuple[int, int]) -> None:
        self.next_packet(ids)  # encoded, and waiting for room
        with ThreadPoolExecutor(1) as grpc_thread:
            sending = grpc_thread.submit(next, self.requests, None)
            self.stop()
            assert sending.result(timeout=10) is None

    @precondition(lambda self: self.unanswered)
    @rule()
    def answer_in_order(self) -> None:
        oldest = self.unanswered[0]
        self.answer(oldest, (oldest.stream_id, oldest.frame_id))

    @precondition(lambda self: self.unanswered)
    @rule(place=st.integers(0, 3))
    def answer_any(self, place: int) -> None:
        chosen = self.unanswered[place % len(self.unanswered)]
        ids = (chosen.stream_id, chosen.frame_id)
        first = next(packet for packet in self.unanswered if (packet.stream_id, packet.frame_id) == ids)
        self.answer(first, ids)

    @precondition(lambda self: self.unanswered)
    @rule()
    def answer_without_ids(self) -> None:
        self.answer(self.unanswered[0], (0, 0))

    @rule(ids=st.one_of(IDS, st.just((0, 0)), st.just((2**64 - 1, 2**64 - 1))))
    def answer_to_nothing(self, ids: tuple[int, int]) -> None:
        if (ids == (0, 0) and self.unanswered) or ids in [(one.stream_id, one.frame_id) for one in self.unanswered]:
            return
        with pytest.raises(InvalidField, match=f"found frame {ids[1]} of stream {ids[0]}"):
            self.in_flight.answer(result(ids))

    @precondition(has_room)
    @rule()
    def end(self) -> None:
        self.source.append(None)
        assert next(self.requests, None) is None
        self.ended = True

    @rule()
    def stop(self) -> None:
        self.in_flight.stop()
        self.stopped = True

    @precondition(lambda self: self.ended or self.stopped)
    @rule(ids=IDS)
    def send_after_the_end(self, ids: tuple[int, int]) -> None:
        self.source.append(packet_of(ids))
        assert next(self.requests, None) is None

    @invariant()
    def agrees(self) -> None:
        assert self.in_flight.count == len(self.unanswered) <= self.limit
        assert self.in_flight.complete == (self.ended and not self.unanswered)
        assert self.in_flight.failure is None


InFlightMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = InFlightMachine.TestCase


@pytest.fixture
def in_flight() -> Callable[..., InFlight]:
    def make(*packets: Packet, limit: int = 4, limits: Limits = DEFAULT_LIMITS) -> InFlight:
        return InFlight(packets, limit=limit, labels=LABELS, limits=limits)

    return make


def test_pulls_nothing_before_it_is_asked_and_one_more_than_may_be_unanswered() -> None:
    pulled: list[int] = []

    def frames() -> Iterator[Packet]:
        for number in range(10):
            pulled.append(number)
            yield packet_of((1, number))

    waiting = InFlight(frames(), limit=2, labels=LABELS, limits=DEFAULT_LIMITS)
    requests = waiting.requests()
    assert not pulled
    assert len(list(islice(requests, 2))) == 2
    sending = threading.Thread(target=next, args=(requests, None))
    sending.start()
    sending.join(0.1)
    assert sending.is_alive()
    assert pulled == [0, 1, 2]
    waiting.stop()
    sending.join(10)
    assert not sending.is_alive()
    assert (waiting.count, waiting.complete) == (2, False)


def test_an_error_of_the_source_is_kept_and_nothing_more_is_pulled() -> None:
    def frames() -> Iterator[Packet]:
        yield packet_of((1, 1))
        raise RuntimeError("a bug")

    waiting = InFlight(frames(), limit=4, labels=LABELS, limits=DEFAULT_LIMITS)
    assert len(list(waiting.requests())) == 1
    assert isinstance(waiting.failure, RuntimeError)
    waiting.answer(result((1, 1)))
    assert (waiting.count, waiting.complete) == (0, False)


def test_a_packet_that_the_server_would_not_take_is_not_sent(in_flight: Callable[..., InFlight]) -> None:
    waiting = in_flight(packet_of((1, 1)), limits=Limits(max_packet_bytes=50))
    assert not list(waiting.requests())
    assert isinstance(waiting.failure, LimitExceeded)
    assert not waiting.complete


def test_a_frame_whose_answer_is_none_is_not_in_flight_any_more(in_flight: Callable[..., InFlight]) -> None:
    waiting = in_flight(packet_of((1, 1)))
    list(waiting.requests())
    with pytest.raises(InvalidField, match="classes of detections: expected 0 to 0, found 1 to 1"):
        waiting.answer(result((1, 1), detections={"boxes": [0] * 4, "scores": [1], "classes": [1]}))
    with pytest.raises(InvalidField, match="one to a frame in flight"):
        waiting.answer(result((1, 1)))


def test_round_trips_begin_with_the_sending(in_flight: Callable[..., InFlight]) -> None:
    waiting = in_flight(packet_of((1, 1)))
    list(waiting.requests())
    answer = waiting.answer(result((1, 1), detections={"boxes": [0, 1, 2, 3], "scores": [0.5], "classes": [0]}))
    assert 0 < answer.round_trip_ms < 10_000
    assert answer.server_ms == 0
    assert answer.detections is not None
    assert answer.detections.names == ["person"]
