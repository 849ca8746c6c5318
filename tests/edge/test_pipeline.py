"""One picture to one packet, with the network in torch and with stand-ins for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from PIL import Image

from keyfpn.detector.errors import ModelError, PictureError
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.edge.pipeline import Edge
from keyfpn.protocol.errors import ConfigurationError, Error, FeatureError, LimitExceeded
from keyfpn.protocol.frame import Frame
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Arrays
from keyfpn.reconstruct.registry import codec_of

MakeEdge = Callable[..., Edge]


@pytest.fixture(scope="module")
def make_edge(detector_model: Model) -> MakeEdge:
    return lambda codec="raw:levels=p3+p5,precision=fp32", **options: Edge(detector_model, codec, **options)


@pytest.fixture(scope="module")
def edge_of_photos(make_edge: MakeEdge) -> Edge:
    return make_edge()


def frame_of(picture: np.ndarray) -> Frame:
    return Frame("photo", 42, picture, 1_700_000_000_000_000)


def test_a_packet_says_what_it_was_made_of(edge_of_photos: Edge, detector_model: Model, photo: np.ndarray) -> None:
    encoded = edge_of_photos.encode_frame(frame_of(photo[:, :160]))
    packet = Packet.parse(encoded.data)
    assert packet == encoded.packet
    assert (packet.codec, packet.fingerprint) == ("raw", detector_model.fingerprint)
    assert (packet.stream_id, packet.frame_id) == (edge_of_photos.stream_id, 42)
    assert packet.capture_time == 1_700_000_000_000_000
    assert packet.image_size == (512, 160)
    assert packet.network_size == (640, 200)
    assert packet.key_levels == ("p3", "p5")


def test_its_levels_are_the_detectors_own(
    edge_of_photos: Edge,
    detector_model: Model,
    network: GeneralizedRCNN,
    preprocessor: Preprocessor,
    photo: np.ndarray,
) -> None:
    packet = Packet.parse(edge_of_photos.encode_frame(frame_of(photo)).data)
    codec = codec_of(packet, detector_model)
    unpacked = codec.decoder().unpack(packet)
    rebuilt = codec.rebuilder().rebuild([unpacked])
    expected = EdgeHalf(network, ("p3", "p5", "p6"))(preprocessor.to_input(preprocessor.resize(photo)))
    assert set(unpacked.arrays) == {"p3", "p5"}
    for level, feature in expected.items():
        assert torch.equal(rebuilt[level], feature)


def test_sizes_and_times_are_those_of_the_frame(edge_of_photos: Edge, photo: np.ndarray) -> None:
    encoded = edge_of_photos.encode_frame(frame_of(photo))
    elements = 128 * sum(side * side for side in (96, 48, 24, 12, 6))
    assert encoded.raw_bytes == 4 * elements
    assert encoded.compression_ratio == pytest.approx(4 * elements / len(encoded.data))
    assert 0 < encoded.times.network < encoded.times.total
    assert encoded.times.total == encoded.times.prepare + encoded.times.network + encoded.times.code


def test_bf16_gives_other_bytes_than_fp32(make_edge: MakeEdge, photo: np.ndarray) -> None:
    strip = frame_of(photo[200:240])  # small, because few CPUs are quick at bf16
    fp32, bf16 = (make_edge(precision=p).encode_frame(strip).packet.chunks for p in ("fp32", "bf16"))
    assert fp32[0].payload != bf16[0].payload
    assert len(fp32[0].payload) == len(bf16[0].payload)


def test_refuses_a_packet_that_the_receiver_would(make_edge: MakeEdge, photo: np.ndarray) -> None:
    small = make_edge(limits=Limits(max_packet_bytes=100_000))
    with pytest.raises(LimitExceeded, match="at most 100000 bytes"):
        small.encode_frame(frame_of(photo))


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("mp3", "codec: expected one of interpolate, learned, network, raw, found 'mp3'"),
        ("raw:precision=int9", "codec raw, precision: expected one of "),
        ("learned:quality=9999", "codec learned, quality: expected one of "),
        ("raw:", None),
        ("raw:levels", "codec settings: expected NAME or NAME:KEY=VALUE"),
    ],
)
def test_settings_are_checked_before_the_network_is_built(
    detector_model: Model, codec: str, message: str | None
) -> None:
    built: list[object] = []
    if message is None:
        Edge(detector_model, codec, network=lambda encoder: built.append(encoder))
        assert len(built) == 1
        return
    with pytest.raises(ConfigurationError) as refused:
        Edge(detector_model, codec, network=lambda encoder: built.append(encoder))
    assert str(refused.value).startswith(message)
    assert not built


class Standin:
    """Stands in for the network: zeros of the right shapes, or what a test makes of them."""

    def __init__(self, edge_model: Model, spoil: Callable[[Arrays], Arrays] = lambda arrays: arrays) -> None:
        self.model, self.spoil = edge_model, spoil
        self.inputs: tuple[str, ...] = ()
        self.pictures: list[np.ndarray] = []

    def __call__(self, encoder: object) -> Standin | object:
        self.inputs = encoder.inputs
        return self.compute

    def compute(self, picture: np.ndarray) -> Arrays:
        self.pictures.append(picture)
        geometry = self.model.geometry(picture.shape[1:])
        return self.spoil({level: np.zeros(geometry.level_shape(level), np.float32) for level in self.inputs})


def test_another_network_takes_torchs_place(detector_model: Model, photo: np.ndarray) -> None:
    standin = Standin(detector_model)
    packet = Edge(detector_model, "interpolate:levels=p3+p5,ranges=picture", network=standin).encode(photo)
    (given,) = standin.pictures
    assert (given.shape, given.dtype, given.flags.c_contiguous) == ((3, *packet.network_size), np.uint8, True)
    preprocessor = detector_model.preprocessor
    np.testing.assert_array_equal(given, preprocessor.to_input(preprocessor.resize(photo)))
    arrays = codec_of(packet, detector_model).decoder().unpack(packet).arrays
    assert {level: float(abs(array).max()) for level, array in arrays.items()} == {"p3": 0, "p5": 0}


def test_streams_have_ids_of_their_own(detector_model: Model) -> None:
    ids = {Edge(detector_model, "raw", network=Standin(detector_model)).stream_id for _ in range(8)}
    assert len(ids) == 8
    assert all(0 < number < 2**64 for number in ids)


def test_frames_are_numbered_from_1(detector_model: Model, photo: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    edge = Edge(detector_model, "raw:levels=p5", network=Standin(detector_model))
    with pytest.raises(PictureError):
        edge.encode(tmp_path / "none.png")
    packets = [edge.encode(picture) for picture in (photo, tmp_path / "photo.png", str(tmp_path / "photo.png"))]
    assert [packet.frame_id for packet in packets] == [1, 2, 3]  # what never was a frame has no number
    assert {packet.stream_id for packet in packets} == {edge.stream_id}
    assert {packet.image_size for packet in packets} == {(512, 512)}


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((32, 48, 3), np.float32),
        np.zeros((32, 48, 3), np.int64),
        np.zeros((32, 48), np.uint8),
        np.zeros((32, 48, 4), np.uint8),
        np.zeros((3, 32, 48), np.uint8),
        np.zeros((1, 32, 48, 3), np.uint8),
        np.zeros((0, 48, 3), np.uint8),
        np.zeros((32, 0, 3), np.uint8),
    ],
    ids=lambda picture: f"{picture.dtype} {picture.shape}",
)
def test_an_array_that_is_no_picture(detector_model: Model, picture: np.ndarray) -> None:
    standin = Standin(detector_model)
    edge = Edge(detector_model, "raw:levels=p5", network=standin)
    with pytest.raises(PictureError) as refused:
        edge.encode(picture)
    found = f"{picture.dtype} of shape {picture.shape}"
    assert str(refused.value) == f"picture: expected (H, W, 3) uint8, RGB, found {found}"
    assert not standin.pictures
    assert edge.encode(np.zeros((32, 48, 3), np.uint8)).frame_id == 1


THREAD = Frame("thread", 1, np.zeros((1, 5000, 3), np.uint8))  # one pixel high: nothing is left when resized


def test_a_frame_that_cannot_be_encoded_is_reported_and_passed_over(edge_of_photos: Edge, photo: np.ndarray) -> None:
    failures: list[str] = []
    encoded = list(edge_of_photos.encode_all([THREAD, frame_of(photo)], failures.append))
    assert [one.frame.name for one in encoded] == ["photo"]
    assert len(failures) == 1
    assert failures[0].startswith("thread: size of a picture: expected one that can be resized")


class TestFaultsOfAFrame:
    """Those of the frame itself are passed over; whatever else goes wrong ends the stream."""

    @staticmethod
    def run(model: Model, spoil: Callable[[Arrays], Arrays], failures: list[str], codec: str) -> list[str]:
        """Encode three frames, of which the second is spoiled."""
        count = 0

        def second(arrays: Arrays) -> Arrays:
            nonlocal count
            count += 1
            return spoil(arrays) if count == 2 else arrays

        edge = Edge(model, codec, network=Standin(model, second))
        frames = [Frame(name, number, np.zeros((96, 96, 3), np.uint8)) for number, name in enumerate("abc")]
        return [encoded.frame.name for encoded in edge.encode_all(frames, failures.append)]

    @pytest.mark.parametrize("codec", ["raw", "raw:precision=fp16", "interpolate", "interpolate:ranges=minmax"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_features_that_are_not_finite(self, detector_model: Model, codec: str, value: float) -> None:
        def spoil(arrays: Arrays) -> Arrays:
            arrays["p3"][5, 3, 3] = value
            return arrays

        failures: list[str] = []
        assert self.run(detector_model, spoil, failures, codec) == ["a", "c"]
        (failure,) = failures
        assert failure.startswith("b: ")
        assert "finite" in failure

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_latents_that_are_not_finite(self, learned_model: Model, value: float) -> None:
        edge = Edge(learned_model, "learned", network=lambda encoder: lambda picture: _latents(value))
        failures: list[str] = []
        assert list(edge.encode_all([Frame("a", 1, np.zeros((96, 96, 3), np.uint8))], failures.append)) == []
        assert failures == ["a: latent y1 to send: expected finite values, found some that are not"]

    @pytest.mark.parametrize(
        "error",
        [
            ModelError("model", "weights", "none"),
            ConfigurationError("codec", "one", "none"),
            Error("something", "else", "this"),
            RuntimeError("a bug"),
            ValueError("a mistake"),
            KeyError("p3"),
            MemoryError("no more"),
            OSError("no disk"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_is_not_the_frames_fault_is_not_swallowed(self, detector_model: Model, error: Exception) -> None:
        def fail(arrays: Arrays) -> Arrays:
            raise error

        failures: list[str] = []
        with pytest.raises(type(error)) as raised:
            self.run(detector_model, fail, failures, "raw")
        assert raised.value is error
        assert not failures

    def test_nor_is_an_error_of_the_source(self, detector_model: Model) -> None:
        def source() -> Iterable[Frame]:
            yield Frame("a", 1, np.zeros((96, 96, 3), np.uint8))
            raise PictureError("camera", "a picture", "smoke")  # a source reports its own; this one did not

        failures: list[str] = []
        edge = Edge(detector_model, "raw", network=Standin(detector_model))
        with pytest.raises(PictureError, match="smoke"):
            list(edge.encode_all(source(), failures.append))
        assert not failures

    def test_who_encodes_one_picture_gets_the_error_itself(self, detector_model: Model) -> None:
        spoiled = Standin(detector_model, lambda arrays: {level: array + np.inf for level, array in arrays.items()})
        with pytest.raises(FeatureError, match="features to send: expected values that are finite as float32"):
            Edge(detector_model, "raw:precision=fp32", network=spoiled).encode(np.zeros((96, 96, 3), np.uint8))


def _latents(value: float) -> Arrays:
    latents = {f"y{place}": np.zeros((channels, 3, 3), np.float32) for place, channels in enumerate((5, 6, 3))}
    latents["y1"][0, 0, 0] = value
    return latents
