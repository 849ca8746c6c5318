import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import ROIHeads

from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.edge.encoder import EdgeEncoder
from keyfpn.edge.sources import Frame
from keyfpn.protocol.errors import LimitExceeded
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import build_codec, codec_of

MakeEncoder = Callable[..., EdgeEncoder]


@pytest.fixture(scope="module")
def make_encoder(detector_model: Model) -> MakeEncoder:
    codec = build_codec("raw:levels=p3+p5,precision=fp32", detector_model)
    return lambda **options: EdgeEncoder(detector_model, codec, **options)


@pytest.fixture(scope="module")
def encoder(make_encoder: MakeEncoder) -> EdgeEncoder:
    return make_encoder()


def frame_of(picture: np.ndarray) -> Frame:
    return Frame("photo", 42, picture, 1_700_000_000_000_000)


def test_a_packet_says_what_it_was_made_of(encoder: EdgeEncoder, detector_model: Model, photo: np.ndarray) -> None:
    encoded = encoder.encode(frame_of(photo[:, :160]))
    packet = Packet.parse(encoded.data)
    assert packet == encoded.packet
    assert (packet.codec, packet.fingerprint) == ("raw", detector_model.fingerprint)
    assert (packet.stream_id, packet.frame_id) == (encoder.stream_id, 42)
    assert packet.capture_time == 1_700_000_000_000_000
    assert packet.image_size == (512, 160)
    assert packet.network_size == (640, 200)
    assert packet.key_levels == ("p3", "p5")


def test_its_levels_are_the_detectors_own(
    encoder: EdgeEncoder,
    detector_model: Model,
    network: GeneralizedRCNN,
    preprocessor: Preprocessor,
    photo: np.ndarray,
) -> None:
    packet = Packet.parse(encoder.encode(frame_of(photo)).data)
    decoded = codec_of(packet, detector_model).decode(packet.chunks, detector_model.geometry(packet.network_size))
    expected = EdgeHalf(network, ("p3", "p5", "p6"))(preprocessor.to_input(preprocessor.resize(photo)))
    for level, feature in expected.items():
        assert torch.equal(decoded[level], feature)


def test_sizes_and_times_are_those_of_the_frame(encoder: EdgeEncoder, photo: np.ndarray) -> None:
    encoded = encoder.encode(frame_of(photo))
    elements = 128 * sum(side * side for side in (96, 48, 24, 12, 6))
    assert encoded.raw_bytes == 4 * elements
    assert encoded.x_fold == pytest.approx(4 * elements / len(encoded.data))
    assert 0 < encoded.times.network < encoded.times.total
    assert encoded.times.total == encoded.times.prepare + encoded.times.network + encoded.times.code


def test_bf16_gives_other_bytes_than_fp32(make_encoder: MakeEncoder, photo: np.ndarray) -> None:
    strip = frame_of(photo[200:240])  # small, because few CPUs are quick at bf16
    fp32, bf16 = (make_encoder(precision=p).encode(strip).packet.chunks for p in ("fp32", "bf16"))
    assert fp32[0].payload != bf16[0].payload
    assert len(fp32[0].payload) == len(bf16[0].payload)


def test_keeps_only_the_edges_half(make_encoder: MakeEncoder) -> None:
    def heads() -> int:
        gc.collect()
        return sum(issubclass(type(thing), (RPN, ROIHeads)) for thing in gc.get_objects())

    before = heads()
    encoder = make_encoder()
    assert heads() == before
    assert encoder.stream_id


def test_streams_have_ids_of_their_own(encoder: EdgeEncoder, make_encoder: MakeEncoder) -> None:
    assert encoder.stream_id != make_encoder().stream_id


def test_refuses_a_packet_that_the_receiver_would(make_encoder: MakeEncoder, photo: np.ndarray) -> None:
    encoder = make_encoder(limits=Limits(max_packet_bytes=100_000))
    with pytest.raises(LimitExceeded, match="at most 100000 bytes"):
        encoder.encode(frame_of(photo))


def test_a_frame_that_cannot_be_encoded_is_reported_and_passed_over(encoder: EdgeEncoder, photo: np.ndarray) -> None:
    thread = Frame("thread", 1, np.zeros((1, 5000, 3), np.uint8), 0)  # one pixel high: nothing is left when resized
    failures: list[str] = []
    encoded = list(encoder.encode_all([thread, frame_of(photo)], failures.append))
    assert [one.frame.name for one in encoded] == ["photo"]
    assert len(failures) == 1
    assert failures[0].startswith("thread: ")
