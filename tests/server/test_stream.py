"""One stream's frames, each with its result whatever its bytes are; a stand-in computes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter

import pytest

from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Packet
from keyfpn.server.backlog import Arrival
from keyfpn.server.engine.base import Engine
from keyfpn.server.held import HeldModels, UnpackedFrame
from keyfpn.server.stream import Stream
from tests.server.services import FakeEngine, boxes

MakePacket = Callable[..., Packet]


def answer(engine: Engine, *packets: bytes) -> list[pb.FrameResult]:
    async def run() -> list[pb.FrameResult]:
        with ThreadPoolExecutor(1) as pool:
            stream = Stream(engine, pool)
            return [await stream.answer(Arrival(data, perf_counter())) for data in packets]

    return asyncio.run(run())


def test_a_result_has_the_frames_ids_size_and_boxes(held: HeldModels, make_constant: MakePacket) -> None:
    engine = FakeEngine(held, lambda frame: boxes(2))
    packet = make_constant(image_size=(480, 640), stream_id=2**64 - 1, frame_id=2**63)
    (result,) = answer(engine, packet.serialize())
    assert (result.stream_id, result.frame_id) == (2**64 - 1, 2**63)
    assert (result.detections.height, result.detections.width) == (480, 640)
    assert list(result.detections.boxes) == [1, 2, 3, 4] * 2
    assert list(result.detections.scores) == [0.5, 0.5]
    assert list(result.detections.classes) == [0, 0]
    assert result.server_ms > 0
    (frame,) = engine.frames
    assert (frame.image_size, list(frame.unpacked.arrays)) == ((480, 640), ["p3", "p5"])


def test_nothing_found_is_a_result_too(held: HeldModels, make_constant: MakePacket) -> None:
    (result,) = answer(FakeEngine(held), make_constant().serialize())
    assert result.WhichOneof("outcome") == "detections"
    assert not result.detections.scores


def test_the_time_includes_the_waiting(held: HeldModels, make_constant: MakePacket) -> None:
    async def run() -> pb.FrameResult:
        with ThreadPoolExecutor(1) as pool:
            arrival = Arrival(make_constant().serialize(), perf_counter() - 5)
            return await Stream(FakeEngine(held), pool).answer(arrival)

    assert 5000 < asyncio.run(run()).server_ms < 30_000


def test_a_packet_that_cannot_be_decoded_gets_its_error(held: HeldModels, make_constant: MakePacket) -> None:
    good = make_constant(frame_id=7)
    damaged = bytearray(good.serialize())
    damaged[-6] ^= 1
    cut = tuple(replace(chunk, payload=chunk.payload[:-1]) for chunk in good.chunks)
    engine = FakeEngine(held)
    results = answer(
        engine,
        b"",
        b"JUNK" + bytes(100),
        bytes(damaged),
        replace(good, fingerprint=b"\xab" * 8).serialize(),
        replace(good, codec="private-200").serialize(),
        replace(good, chunks=cut).serialize(),
        good.serialize(),
    )
    assert [(result.error.kind, result.frame_id) for result in results] == [
        ("Truncated", 0),
        ("BadMagic", 0),
        ("ChecksumMismatch", 0),
        ("FingerprintMismatch", 7),
        ("InvalidField", 7),
        ("CorruptPayload", 7),
        ("", 7),
    ]
    for result in results[:-1]:
        error = result.error
        assert f"expected {error.expected}, found {error.found}" in error.message
        assert error.expected
        assert error.found
    assert len(engine.frames) == 1


@pytest.mark.parametrize("error", [MemoryError("no more"), ValueError("secret"), KeyError("p3"), RuntimeError("CUDA")])
def test_a_fault_of_the_server_is_for_its_log(
    held: HeldModels, make_constant: MakePacket, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(frame: UnpackedFrame) -> Detections:
        raise error

    (result,) = answer(FakeEngine(held, fail), make_constant(stream_id=8, frame_id=9).serialize())
    assert (result.stream_id, result.frame_id, result.error.kind) == (8, 9, "InternalError")
    assert result.error.message == "the server failed; see its log"
    assert result.server_ms > 0
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.ERROR, "frame 9 of stream 8 failed")
    assert str(error) in caplog.text


def test_a_fault_while_unpacking_is_one_too(
    held: HeldModels, make_constant: MakePacket, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def unpack(self, packet: Packet, limits: object) -> None:
            raise MemoryError("no more")

    packet = make_constant()
    monkeypatch.setattr(held.codec_of(packet), "decoder", Broken)
    (result,) = answer(FakeEngine(held), packet.serialize())
    assert (result.error.kind, result.frame_id) == ("InternalError", 1)


def test_who_ends_the_stream_is_not_held_up(held: HeldModels, make_constant: MakePacket) -> None:
    class Endless(FakeEngine):
        async def detect(self, frame: UnpackedFrame) -> Detections:
            await asyncio.Event().wait()
            raise AssertionError

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            stream = Stream(Endless(held), pool)
            await asyncio.wait_for(stream.answer(Arrival(make_constant().serialize(), perf_counter())), 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(run())
