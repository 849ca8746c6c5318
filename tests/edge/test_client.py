import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

import grpc
import pytest

from keyfpn.detector.model import Model
from keyfpn.edge.client import DetectionClient
from keyfpn.edge.encoder import EncodedFrame
from keyfpn.edge.errors import ServerError
from keyfpn.edge.in_flight import Answer
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import FeatureCodec, build_codec

MakeFrames = Callable[..., list[EncodedFrame]]


@pytest.fixture(scope="module")
def codec(detector_model: Model) -> FeatureCodec:
    return build_codec("interpolate", detector_model)


@pytest.fixture
def connect(detector_model: Model, codec: FeatureCodec) -> Callable[..., DetectionClient]:
    return lambda address, **options: DetectionClient(address, detector_model, codec, **options)


def echo(frame: wire.Frame, **outcome: object) -> wire.FrameResult:
    packet = Packet.parse(frame.packet)
    return wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, **(outcome or {"detections": {}}))


def ids(answers: Iterable[Answer]) -> list[int]:
    return [answer.sent.frame.frame_id for answer in answers]


def test_answers_come_with_their_frames(fake_server, connect, encoded_frames: MakeFrames) -> None:
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
        assert answer.detections.boxes.tolist() == [[1, 2, 3, answer.sent.frame.frame_id]]
        assert answer.detections.classes.tolist() == [79]
        assert answer.round_trip_ms > 0


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
            error = wire.FrameError(kind="ChecksumMismatch", message="damaged")
            yield wire.FrameResult(error=error) if number == 2 else echo(frame)

    with connect(fake_server(refuse_second).address) as client:
        answers = list(client.detect(encoded_frames(3)))
    # The result of an unreadable packet has no ids; the order tells whose it is.
    assert ids(answers) == [1, 2, 3]
    assert [answer.refusal for answer in answers] == ["", "damaged", ""]
    assert answers[1].detections is None


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (wire.FrameResult(stream_id=5, frame_id=77), "frame 77 of stream 5, which does not wait for an answer"),
        (
            wire.FrameResult(stream_id=5, frame_id=1, detections=wire.Detections(boxes=[1, 2, 3], scores=[1])),
            "found 3 numbers, 1 scores and 0 classes",
        ),
        (
            wire.FrameResult(stream_id=5, frame_id=1, detections={"boxes": [0] * 4, "scores": [1], "classes": [80]}),
            "expected classes from 0 to 79, found 80 to 80",
        ),
    ],
)
def test_an_answer_that_is_none(fake_server, connect, encoded_frames: MakeFrames, result, message: str) -> None:
    server = fake_server(lambda frames: (result for _ in frames))
    with connect(server.address) as client, pytest.raises(ServerError, match=message):
        list(client.detect(encoded_frames(2)))


def test_a_stream_that_the_server_closes_early(fake_server, connect, encoded_frames: MakeFrames) -> None:
    def one_answer(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        yield echo(next(iter(frames)))

    server = fake_server(one_answer)
    answers: list[Answer] = []
    gone = rf"{server.address} went away.*send what is missing again"
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
    assert "other (fingerprint 0001020304050607)" in str(refusal.value)
    assert f"{detector_model.name} (fingerprint {detector_model.fingerprint.hex()})" in str(refusal.value)
    assert not server.received


def test_a_server_without_the_codec(fake_server, connect, detector_model: Model) -> None:
    held = wire.Model(name=detector_model.name, fingerprint=detector_model.fingerprint, codecs=["raw"])
    with pytest.raises(ServerError, match=r"decodes raw .* this edge encodes with interpolate"):
        connect(fake_server(models=[held]).address)


def test_a_server_of_another_packet_version(fake_server, connect) -> None:
    with pytest.raises(ServerError, match=r"\(keyfpn 9\.0\) reads packets of version 7, 8, this edge writes version 1"):
        connect(fake_server(packet_versions=[7, 8], software_version="9.0").address)


def test_packets_fit_the_message_that_the_server_accepts(fake_server, connect) -> None:
    with connect(fake_server(max_message_bytes=3 << 20).address) as client:
        assert wire.Frame(packet=bytes(client.limits.max_packet_bytes)).ByteSize() == 3 << 20


def test_a_message_beyond_grpcs_default_arrives(fake_server, connect, encoded_frames: MakeFrames) -> None:
    (frame,) = encoded_frames(1)
    large = EncodedFrame(frame.frame, frame.packet, bytes(19 << 20), 1, frame.times)
    server = fake_server(lambda frames: (wire.FrameResult(stream_id=5, frame_id=1) for _ in frames))
    with connect(server.address) as client:
        assert len(list(client.detect([large]))) == 1
    assert len(server.received[0].packet) == 19 << 20


def test_nobody_there(connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerError, match=rf"server {address}: no keyfpn server answers there.*keyfpn-server serve"):
        connect(address)


def test_somebody_who_never_answers(connect) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ServerError, match=rf"server {address}: no answer within 0.3 s"):
            connect(address, connect_timeout=0.3)


def test_some_other_grpc_server(connect) -> None:
    other = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with pytest.raises(ServerError, match=r"this is no keyfpn server \(UNIMPLEMENTED"):
            connect(f"127.0.0.1:{port}")
    finally:
        other.stop(None)


@pytest.mark.parametrize("address", ["", "localhost", "http://localhost:1", "localhost:port", ":50051"])
def test_an_address_of_another_form(connect, address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected HOST:PORT"):
        connect(address)
