"""The client against servers that say what a test tells them."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import replace

import grpc
import pytest

from keyfpn.detector.model import Model
from keyfpn.edge.client import Client
from keyfpn.edge.errors import ServerError
from keyfpn.edge.in_flight import Answer
from keyfpn.edge.pipeline import EncodedFrame
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.errors import ConfigurationError, LimitExceeded
from keyfpn.protocol.packet import Packet

MakeFrames = Callable[..., list[EncodedFrame]]
SAME_RELEASE = "Bring both ends to the same keyfpn release."


@pytest.fixture
def connect(detector_model: Model) -> Callable[..., Client]:
    return lambda address, **options: Client(address, detector_model, "interpolate", **options)


def echo(frame: wire.Frame, **outcome: object) -> wire.FrameResult:
    packet = Packet.parse(frame.packet)
    return wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, **(outcome or {"detections": {}}))


def ids(answers: Iterable[Answer]) -> list[int]:
    return [answer.sent.frame.frame_id for answer in answers]


def test_answers_come_with_their_frames(
    fake_server, connect, encoded_frames: MakeFrames, detector_model: Model
) -> None:
    def detect(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        for frame in frames:
            box = wire.Detections(boxes=[1, 2, 3, Packet.parse(frame.packet).frame_id], scores=[0.5], classes=[79])
            yield echo(frame, detections=box)

    frames = encoded_frames(20)
    with connect(fake_server(detect).address) as client:
        answers = list(client.detect(frames))
    assert ids(answers) == list(range(1, 21))
    for answer in answers:
        assert answer.detections is not None
        assert answer.refusal is None
        assert answer.detections.boxes.tolist() == [[1, 2, 3, answer.sent.frame.frame_id]]
        assert answer.detections.classes.tolist() == [79]
        assert answer.detections.names == [detector_model.labels.names[79]]
        assert answer.round_trip_ms > 0


def test_packets_alone_are_answered_too(fake_server, connect, make_packet: Callable[..., Packet]) -> None:
    packets = [make_packet(frame_id=frame_id) for frame_id in (1, 2, 3)]
    server = fake_server()
    with connect(server.address) as client:
        assert [answer.sent for answer in client.detect(packets)] == packets
    assert [frame.packet for frame in server.received] == [packet.serialize() for packet in packets]


def test_the_same_packet_may_be_sent_twice(fake_server, connect, make_packet: Callable[..., Packet]) -> None:
    def once_all_are_here(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        yield from [echo(frame) for frame in frames]

    with connect(fake_server(once_all_are_here).address) as client:
        assert [answer.sent.frame_id for answer in client.detect([make_packet()] * 3)] == [1, 1, 1]


def test_a_packet_beyond_the_servers_limit_is_not_sent(
    fake_server, connect, make_packet: Callable[..., Packet]
) -> None:
    server = fake_server(max_message_bytes=30)
    with (
        connect(server.address) as client,
        pytest.raises(LimitExceeded, match="packet: expected at most 25 bytes, found 53"),
    ):
        list(client.detect([make_packet()]))
    assert not server.received


def test_matches_by_frame_id_whatever_the_order(fake_server, connect, encoded_frames: MakeFrames) -> None:
    def in_reversed_pairs(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        frames = iter(frames)
        for first in frames:
            yield echo(next(frames))
            yield echo(first)

    with connect(fake_server(in_reversed_pairs).address) as client:
        assert ids(client.detect(encoded_frames(4))) == [2, 1, 4, 3]


def test_holds_no_more_frames_in_flight_than_told(fake_server, connect, encoded_frames: MakeFrames) -> None:
    seen: list[int] = []

    def detect(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        queue: list[wire.Frame] = []
        threading.Thread(target=lambda: [queue.append(frame) for frame in frames], daemon=True).start()
        for answered in range(12):
            time.sleep(0.05)  # for as many frames as the client cares to send
            seen.append(len(queue) - answered)
            yield echo(queue[answered])

    with connect(fake_server(detect).address, in_flight=3) as client:
        assert len(list(client.detect(encoded_frames(12)))) == 12
    assert max(seen) == 3


def test_a_refused_frame_does_not_end_the_stream(fake_server, connect, encoded_frames: MakeFrames) -> None:
    def refuse_second(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        for number, frame in enumerate(frames, start=1):
            error = wire.FrameError(kind="ChecksumMismatch", message="damaged", expected="a", found="b")
            yield wire.FrameResult(error=error) if number == 2 else echo(frame)

    with connect(fake_server(refuse_second).address) as client:
        answers = list(client.detect(encoded_frames(3)))
    # The result of an unreadable packet has no ids; the order tells whose it is.
    assert ids(answers) == [1, 2, 3]
    assert [str(answer.refusal or "") for answer in answers] == ["", "damaged", ""]
    assert answers[1].detections is None
    refusal = answers[1].refusal
    assert refusal is not None
    assert (refusal.kind, refusal.expected, refusal.found) == ("ChecksumMismatch", "a", "b")


def test_an_answer_that_says_nothing_is_a_refusal(fake_server, connect, encoded_frames: MakeFrames) -> None:
    server = fake_server(lambda frames: (wire.FrameResult(stream_id=5, frame_id=1) for _ in frames))
    with connect(server.address) as client:
        (answer,) = client.detect(encoded_frames(1))
    assert answer.detections is None
    assert str(answer.refusal) == "the server gave no reason"


def found(boxes: int, scores: int, classes: list[int]) -> wire.FrameResult:
    detections = wire.Detections(boxes=[0] * boxes, scores=[1] * scores, classes=classes)
    return wire.FrameResult(stream_id=5, frame_id=1, detections=detections)


BOXES, CLASSES = (
    "detections: expected 4 numbers, a score and a class per box",
    "classes of detections: expected 0 to 79",
)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            wire.FrameResult(stream_id=5, frame_id=77),
            "answer: expected one to a frame in flight, found frame 77 of stream 5",
        ),
        (found(3, 1, []), f"{BOXES}, found 3 numbers, 1 scores and 0 classes"),
        (found(4, 1, []), f"{BOXES}, found 4 numbers, 1 scores and 0 classes"),
        (found(4, 2, [1]), f"{BOXES}, found 4 numbers, 2 scores and 1 classes"),
        (found(5, 1, [1]), f"{BOXES}, found 5 numbers, 1 scores and 1 classes"),
        (found(0, 0, [1]), f"{BOXES}, found 0 numbers, 0 scores and 1 classes"),
        (found(4, 1, [80]), f"{CLASSES}, found 80 to 80"),
        (found(8, 2, [-1, 5]), f"{CLASSES}, found -1 to 5"),
    ],
)
def test_an_answer_that_is_none_ends_the_stream(
    fake_server, connect, encoded_frames: MakeFrames, result: wire.FrameResult, message: str
) -> None:
    server = fake_server(lambda frames: (result for _ in frames))
    with connect(server.address) as client, pytest.raises(ServerError) as ended:
        list(client.detect(encoded_frames(2)))
    assert str(ended.value) == f"server {server.address}, {message}. {SAME_RELEASE}"


def test_a_stream_that_the_server_closes_early(fake_server, connect, encoded_frames: MakeFrames) -> None:
    def one_answer(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        yield echo(next(iter(frames)))

    server = fake_server(one_answer)
    answers: list[Answer] = []
    gone = rf"server {server.address}: .*went away, with \d frames unanswered.*send the rest again"
    with connect(server.address) as client, pytest.raises(ServerError, match=gone):
        answers.extend(client.detect(encoded_frames(50)))
    assert ids(answers) == [1]


def test_an_error_among_the_frames_reaches_the_caller(fake_server, connect, encoded_frames: MakeFrames) -> None:
    def frames() -> Iterator[EncodedFrame]:
        yield from encoded_frames(2)
        raise MemoryError("no more")

    answers: list[Answer] = []
    with connect(fake_server().address) as client, pytest.raises(MemoryError, match="no more"):
        answers.extend(client.detect(frames()))
    assert ids(answers) == [1, 2]


def test_encodes_nothing_more_once_the_caller_stops(fake_server, connect, encoded_frames: MakeFrames) -> None:
    pulled = []

    def frames() -> Iterator[EncodedFrame]:
        for frame in encoded_frames(100):
            pulled.append(frame)
            yield frame

    with connect(fake_server().address, in_flight=2) as client:
        answers = client.detect(frames())
        next(answers)
        answers.close()
        count = len(pulled)
        time.sleep(0.2)
        assert len(pulled) == count < 100


def test_a_server_with_another_model_gets_no_frame(fake_server, connect, detector_model: Model) -> None:
    other = wire.Model(name="other", fingerprint=bytes(range(8)), codecs=["interpolate"])
    server = fake_server(models=[other])
    with pytest.raises(ServerError) as refusal:
        connect(server.address)
    assert "found other (fingerprint 0001020304050607)" in str(refusal.value)
    assert f"expected the edge's model {detector_model.name} (fingerprint {detector_model.fingerprint.hex()})" in str(
        refusal.value
    )
    assert not server.received


def test_a_server_that_holds_nothing(fake_server, connect) -> None:
    with pytest.raises(ServerError, match=r"found nothing\. Start both with the same model"):
        connect(fake_server(models=[]).address)


def test_a_server_without_the_codec(fake_server, connect, detector_model: Model) -> None:
    held = wire.Model(name=detector_model.name, fingerprint=detector_model.fingerprint, codecs=["raw"])
    expected = f"expected one that decodes interpolate, found only raw for {detector_model.name}"
    with pytest.raises(ServerError, match=re.escape(expected)):
        connect(fake_server(models=[held]).address)


def test_the_codec_asked_for_is_the_models_best_unless_told(fake_server, detector_model: Model) -> None:
    held = wire.Model(name=detector_model.name, fingerprint=detector_model.fingerprint, codecs=["raw"])
    server = fake_server(models=[held])
    with pytest.raises(ServerError, match="expected one that decodes learned, found only raw"):
        Client(server.address, detector_model)
    Client(server.address, detector_model, "raw:precision=fp16").__exit__(None, None, None)


def test_a_server_of_another_packet_version(fake_server, connect) -> None:
    expected = r"reads packets of version 1, found keyfpn 9\.0 which reads 7, 8\. Bring both"
    with pytest.raises(ServerError, match=expected):
        connect(fake_server(packet_versions=[7, 8], software_version="9.0").address)


def test_packets_fit_the_message_that_the_server_accepts(fake_server, connect) -> None:
    with connect(fake_server(max_message_bytes=3 << 20).address) as client:
        assert wire.Frame(packet=bytes(client.limits.max_packet_bytes)).ByteSize() == 3 << 20


def test_a_message_beyond_grpcs_default_arrives(fake_server, connect, encoded_frames: MakeFrames) -> None:
    (frame,) = encoded_frames(1)
    large = replace(frame, data=bytes(19 << 20))
    server = fake_server(lambda frames: (wire.FrameResult(stream_id=5, frame_id=1) for _ in frames))
    with connect(server.address) as client:
        assert len(list(client.detect([large]))) == 1
    assert len(server.received[0].packet) == 19 << 20


def test_nobody_there(connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    nobody = rf"server {address}: expected a keyfpn server, found that nothing answers there.*keyfpn-server serve"
    with pytest.raises(ServerError, match=nobody):
        connect(address)


def test_somebody_who_never_answers(connect) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ServerError, match=rf"server {address}: .*found no answer within 0\.3 s\. Is it a keyfpn"):
            connect(address, connect_timeout=0.3)


def test_some_other_grpc_server(connect) -> None:
    other = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with pytest.raises(ServerError, match=r"expected a keyfpn server, found something else \(UNIMPLEMENTED"):
            connect(f"127.0.0.1:{port}")
    finally:
        other.stop(None)


@pytest.mark.parametrize("address", ["", "localhost", "http://localhost:1", "localhost:port", ":50051"])
def test_an_address_of_another_form(connect, address: str) -> None:
    with pytest.raises(ConfigurationError, match="server: expected HOST:PORT"):
        connect(address)
