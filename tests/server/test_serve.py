"""`keyfpn-server serve`: the real process over real sockets."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import numpy as np
import psutil
import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol import keyfpn_pb2 as pb
from keyfpn.protocol.chunk import Float, encode_level
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import VERSION, Packet
from keyfpn.server.held import limits_for
from keyfpn.server.pipeline import Server

if TYPE_CHECKING:
    from tests.conftest import ServerProcess

CLIENTS, FRAMES = 8, 20


def test_describe(server: ServerProcess, detector_model: Model) -> None:
    with server.connect() as stub:
        described = stub.Describe(pb.DescribeRequest(), timeout=20)
    assert list(described.packet_versions) == [VERSION]
    assert described.max_message_bytes == limits_for([detector_model], max_side=704).max_packet_bytes
    (model,) = described.models
    assert model.name == detector_model.name
    assert model.fingerprint == detector_model.fingerprint
    assert {"raw", "interpolate"} <= set(model.codecs)
    assert list(model.class_names) == list(detector_model.labels.names)


def test_many_edges_get_every_answer_each_to_its_own_frames(
    server: ServerProcess, pipeline: Server, make_packet: Callable[..., Packet], crops: list[np.ndarray]
) -> None:
    # Every client has pictures that no other has, and alternates between them: no swap would go unseen.
    packets = [make_packet(crop) for crop in crops[: 2 * CLIENTS]]
    expected = [pipeline.detect(packet) for packet in packets]

    def run_client(client: int) -> None:
        def frames() -> Iterator[pb.Frame]:
            for index in range(FRAMES):
                yield _frame(packets[2 * client + index % 2], stream_id=100 + client, frame_id=1000 * client + index)

        with server.connect() as stub:
            results = list(stub.Detect(frames(), timeout=120))
        assert [result.frame_id for result in results] == [1000 * client + index for index in range(FRAMES)]
        for index, result in enumerate(results):
            assert result.stream_id == 100 + client
            assert result.server_ms > 0
            _assert_found(result, expected[2 * client + index % 2])

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(run_client, client) for client in range(CLIENTS)]:
            done.result()


def test_a_stream_outlives_its_bad_frames(
    server: ServerProcess, pipeline: Server, make_packet: Callable[..., Packet], crops: list[np.ndarray]
) -> None:
    good = make_packet(crops[1])
    damaged = bytearray(good.serialize())
    damaged[len(damaged) // 2] ^= 1
    p3, p5 = good.chunks
    cut = replace(p3, payload=p3.payload[:-8])
    frames = [
        _frame(good, frame_id=1),
        pb.Frame(packet=bytes(damaged)),
        _frame(good, frame_id=2, fingerprint=b"\xab" * 8),
        _frame(good, frame_id=3, chunks=(cut, p5)),
        pb.Frame(),
        _frame(good, frame_id=4),
    ]
    with server.connect() as stub:
        results = list(stub.Detect(iter(frames), timeout=60))

    assert [result.error.kind for result in results] == [
        "",
        "ChecksumMismatch",
        "FingerprintMismatch",
        "CorruptPayload",
        "Truncated",
        "",
    ]
    assert [result.frame_id for result in results] == [1, 0, 2, 3, 0, 4]
    assert good.fingerprint.hex() in results[2].error.expected
    assert results[2].error.found == "ab" * 8
    for result in (results[0], results[-1]):
        _assert_found(result, pipeline.detect(good))


class TestMessageSize:
    def test_a_packet_of_20_mb(self, server: ServerProcess, detector_model: Model) -> None:
        data = _raw_packet(detector_model, (704, 704)).serialize()
        assert len(data) > 20_000_000
        with server.connect() as stub:
            (result,) = stub.Detect(iter([pb.Frame(packet=data)]), timeout=120)
        assert result.WhichOneof("outcome") == "detections"
        assert (result.frame_id, result.detections.height, result.detections.width) == (5, 704, 704)

    def test_more_than_the_limit(
        self, server: ServerProcess, make_packet: Callable[..., Packet], crops: list[np.ndarray]
    ) -> None:
        with server.connect() as stub:
            limit = stub.Describe(pb.DescribeRequest(), timeout=20).max_message_bytes
            (at_limit,) = stub.Detect(iter([pb.Frame(packet=bytes(limit))]), timeout=60)
            assert at_limit.error.kind == "BadMagic"  # it was read
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.Detect(iter([pb.Frame(packet=bytes(limit + 1000))]), timeout=60))
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "larger than max" in caught.value.details()
            (after,) = stub.Detect(iter([_frame(make_packet(crops[0]))]), timeout=60)
            assert after.WhichOneof("outcome") == "detections"


def test_streams_take_turns(server: ServerProcess, make_packet: Callable[..., Packet], crops: list[np.ndarray]) -> None:
    greedy_frames, modest_frames = 40, 3
    packet = make_packet(crops[0])
    answered = 0
    with server.connect() as greedy, server.connect() as modest:
        stream = greedy.Detect((_frame(packet, frame_id=index) for index in range(greedy_frames)), timeout=120)
        next(stream)

        def count() -> None:
            nonlocal answered
            for _ in stream:
                answered += 1

        counting = threading.Thread(target=count)
        counting.start()
        assert len(list(modest.Detect((_frame(packet) for _ in range(modest_frames)), timeout=120))) == modest_frames
        answered_meanwhile = answered
        counting.join()
    assert answered == greedy_frames - 1
    assert answered_meanwhile < greedy_frames / 2


def test_stays_below_1500_mb(server: ServerProcess, detector_model: Model) -> None:
    data = _raw_packet(detector_model, (384, 640)).serialize()  # the largest that the detector's transform can give

    def run_client(_: int) -> int:
        with server.connect() as stub:
            return len(list(stub.Detect(iter([pb.Frame(packet=data)] * 2), timeout=120)))

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(run_client, range(CLIENTS))) == [2] * CLIENTS
    assert psutil.Process(server.process.pid).memory_info().rss < 1_500_000_000


def test_sigterm_answers_the_frames_in_flight(
    start_server: Callable[..., ServerProcess], make_packet: Callable[..., Packet], crops: list[np.ndarray]
) -> None:
    server = start_server()
    packet = make_packet(crops[0])
    never = threading.Event()

    def frames() -> Iterator[pb.Frame]:
        yield from (_frame(packet, frame_id=index) for index in range(3))
        never.wait()  # the edge has more to send, but not now

    with server.connect() as idle_stub, server.connect() as stub:
        idle = idle_stub.Detect(iter(never.wait, True), timeout=60)  # type: ignore[arg-type]
        stream = stub.Detect(frames(), timeout=60)
        assert next(stream).frame_id == 0
        stopped = ThreadPoolExecutor(1).submit(server.stop)
        assert [next(stream).frame_id for _ in range(2)] == [1, 2]
        for ended in (stream, idle):
            with pytest.raises(grpc.RpcError) as caught:
                next(ended)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in caught.value.details()
        never.set()
    code, printed = stopped.result()
    assert code == 0
    assert all(line["event"] == "stream" for line in printed)
    summary = next(line for line in printed if line["frames"])
    assert (summary["stream_id"], summary["frames"], summary["errors"]) == ("0000000000000001", 3, 0)
    assert summary["mean_ms"] > 0


def test_a_port_that_is_taken(
    server: ServerProcess, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    refused = run_command("serve", "--port", server.address.rpartition(":")[2])
    assert refused.returncode == 1
    assert refused.stdout == ""
    expected = "expected an address to listen on, found Address already in use"
    assert refused.stderr == f"error: {server.address}: {expected}\n"


def _frame(packet: Packet, **fields: object) -> pb.Frame:
    return pb.Frame(packet=replace(packet, **fields).serialize())


def _raw_packet(model: Model, size: tuple[int, int]) -> Packet:
    """p2 to p5 of noise as float32."""
    geometry = model.geometry(size)
    random = np.random.default_rng(0)
    return Packet(
        codec="raw",
        quality=0,
        fingerprint=model.fingerprint,
        stream_id=1,
        frame_id=5,
        capture_time=0,
        image_size=size,
        network_size=size,
        chunks=tuple(
            encode_level(level, random.normal(size=geometry.level_shape(level)).astype(np.float32), Float(32), "store")
            for level in ("p2", "p3", "p4", "p5")
        ),
    )


def _assert_found(result: pb.FrameResult, expected: Detections) -> None:
    assert result.WhichOneof("outcome") == "detections", result.error.message
    assert len(result.detections.scores) == len(expected) > 0
    np.testing.assert_allclose(np.reshape(result.detections.boxes, (-1, 4)), expected.boxes, atol=1e-2)
    np.testing.assert_allclose(result.detections.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(result.detections.classes, expected.classes)
