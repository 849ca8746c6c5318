"""The service over real sockets, in this process: whatever computes, it passes frames on in order, answers all of them,
and tells of it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Extension, Packet
from keyfpn.server.backlog import FRAMES_AHEAD
from keyfpn.server.held import HeldModels, UnpackedFrame
from keyfpn.server.observe.base import StreamSummary
from tests.server.services import Diary, FakeEngine, boxes, serving


def test_frames_of_a_stream_arrive_in_order_and_are_answered_in_order(
    held: HeldModels, make_constant: Callable[..., Packet]
) -> None:
    engine, diary = FakeEngine(held, lambda frame: boxes(frame.image_size[1])), Diary()
    packets = [make_constant(image_size=(1, number), stream_id=8, frame_id=100 + number) for number in range(1, 31)]
    with serving(engine, diary) as service:
        results = service.detect(packets)
        assert diary.ended.wait(10)
    assert [frame.image_size[1] for frame in engine.frames] == list(range(1, 31))
    assert [result.frame_id for result in results] == list(range(101, 131))
    assert [len(result.detections.scores) for result in results] == list(range(1, 31))
    assert {result.stream_id for result in results} == {8}

    (started, peer), *answered, (ended, summary) = diary.events
    assert (started, ended) == ("started", "ended")
    assert answered == [("answered", (100 + number, "")) for number in range(1, 31)]
    assert isinstance(summary, StreamSummary)
    assert (summary.peer, summary.stream_id, summary.frames, summary.errors) == (peer, 8, 30, 0)
    assert summary.total_ms == pytest.approx(sum(result.server_ms for result in results))


def test_a_fault_of_the_server_costs_one_frame(
    held: HeldModels, make_constant: Callable[..., Packet], caplog: pytest.LogCaptureFixture
) -> None:
    def fail_second(frame: UnpackedFrame) -> Detections:
        if frame.image_size[1] == 2:
            raise MemoryError("no more")
        return boxes(1)

    diary = Diary()
    with serving(FakeEngine(held, fail_second), diary) as service:
        results = service.detect([make_constant(image_size=(1, number), frame_id=number) for number in (1, 2, 3)])
        assert diary.ended.wait(10)
    kinds = [(1, ""), (2, "InternalError"), (3, "")]
    assert [(result.frame_id, result.error.kind) for result in results] == kinds
    assert [len(result.detections.scores) for result in results] == [1, 0, 1]
    assert "no more" not in results[1].error.message  # what the server's insides say is for its own log
    assert "no more" in caplog.text
    assert diary.events[1:-1] == [("answered", answered) for answered in kinds]
    summary = diary.events[-1][1]
    assert isinstance(summary, StreamSummary)
    assert (summary.frames, summary.errors) == (3, 1)


def test_the_engine_is_given_no_frame_that_cannot_be_unpacked(
    held: HeldModels, make_constant: Callable[..., Packet]
) -> None:
    engine, good = FakeEngine(held), make_constant()
    with serving(engine) as service:
        results = service.detect([b"JUNK", good, replace(good, fingerprint=bytes(8)), good])
    assert [result.error.kind for result in results] == ["BadMagic", "", "FingerprintMismatch", ""]
    assert len(engine.frames) == 2


def test_streams_do_not_wait_for_each_other(held: HeldModels, make_constant: Callable[..., Packet]) -> None:
    class Gated(FakeEngine):
        async def detect(self, frame: UnpackedFrame) -> Detections:
            if frame.image_size[1] == 1:
                while not go.is_set():
                    await asyncio.sleep(0.001)
            return boxes(frame.image_size[1])

    go = threading.Event()
    slow, quick = make_constant(image_size=(1, 1)), make_constant(image_size=(1, 2))
    with serving(Gated(held)) as service, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.detect, [slow])
        assert [len(result.detections.scores) for result in service.detect([quick] * 3)] == [2] * 3
        assert not waiting.done()
        go.set()
        assert [len(result.detections.scores) for result in waiting.result(30)] == [1]


def test_a_drained_service_answers_what_it_has_and_says_so(
    held: HeldModels, make_constant: Callable[..., Packet]
) -> None:
    engine, diary, never = FakeEngine(held), Diary(), threading.Event()
    packet = make_constant()

    def frames() -> Iterator[pb.Frame]:
        yield from (_frame(packet, frame_id=number) for number in (1, 2))
        never.wait()

    with serving(engine, diary) as service, service.connect() as stub:
        stream = stub.Detect(frames(), timeout=60)
        assert [next(stream).frame_id for _ in range(2)] == [1, 2]
        service.drain()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "send them again later" in ended.value.details()
        never.set()
        assert diary.ended.wait(10)
    assert [event for event, _ in diary.events] == ["started", "answered", "answered", "ended"]


def test_an_edge_that_goes_away_ends_its_stream(held: HeldModels, make_constant: Callable[..., Packet]) -> None:
    diary, never = Diary(), threading.Event()
    packet = make_constant()

    def frames() -> Iterator[pb.Frame]:
        yield _frame(packet)
        never.wait()

    with serving(FakeEngine(held), diary) as service:
        with service.connect() as stub:
            stream = stub.Detect(frames(), timeout=60)
            assert next(stream).frame_id == 1
            stream.cancel()
            assert diary.ended.wait(10)
        never.set()
        assert [event for event, _ in diary.events] == ["started", "answered", "ended"]
        assert len(service.detect([packet])) == 1  # and the service goes on


def test_an_edge_that_sends_fast_is_held_back(held: HeldModels, make_constant: Callable[..., Packet]) -> None:
    class Gated(FakeEngine):
        async def detect(self, frame: UnpackedFrame) -> Detections:
            while not go.is_set():
                await asyncio.sleep(0.001)
            return await super().detect(frame)

    go, sent = threading.Event(), 0
    large = make_constant(extensions=(Extension(7, bytes(60 << 10)),))
    count = 400

    def frames() -> Iterator[pb.Frame]:
        nonlocal sent
        for number in range(count):
            sent += 1
            yield _frame(large, frame_id=number)

    with serving(Gated(held)) as service, service.connect() as stub:
        stream = stub.Detect(frames(), timeout=60)
        before = -1
        while sent != before:  # until nothing more is taken from the edge
            before = sent
            time.sleep(0.3)
        assert FRAMES_AHEAD <= sent < count / 2
        go.set()
        assert [result.frame_id for result in stream] == list(range(count))
    assert sent == count


def test_describe_needs_no_engine(held: HeldModels, detector_model: Model) -> None:
    with serving(FakeEngine(held)) as service, service.connect() as stub:
        described = stub.Describe(pb.DescribeRequest(), timeout=20)
    assert described.max_message_bytes == held.limits.max_packet_bytes
    (model,) = described.models
    assert (model.name, model.fingerprint) == (detector_model.name, detector_model.fingerprint)
    assert list(model.codecs) == [codec.name for codec in held.codecs(detector_model)]
    assert described.software_version


def _frame(packet: Packet, **fields: object) -> pb.Frame:
    return pb.Frame(packet=replace(packet, **fields).serialize())
