"""What a server holds, what one packet may take, and how packets are unpacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Float, encode_level
from keyfpn.protocol.errors import CorruptPayload, FingerprintMismatch, InvalidField, LimitExceeded
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.server.held import HeldModels, Unpacker, limits_for

MakePacket = Callable[..., Packet]


class TestModels:
    def test_one_of_a_fingerprint_each(self, detector_model: Model, unfitted_model: Model) -> None:
        both = HeldModels([detector_model, unfitted_model])
        assert both.models == {
            detector_model.fingerprint: detector_model,
            unfitted_model.fingerprint: unfitted_model,
        }
        assert [codec.name for codec in both.codecs(detector_model)] == ["interpolate", "learned", "network", "raw"]
        assert [codec.name for codec in both.codecs(unfitted_model)] == ["interpolate", "raw"]

    def test_a_packet_goes_to_its_own(
        self, detector_model: Model, unfitted_model: Model, make_constant: MakePacket
    ) -> None:
        both = HeldModels([detector_model, unfitted_model])
        packet = make_constant()
        assert both.model_of(packet) is detector_model
        assert both.codec_of(packet).model is detector_model
        other = replace(packet, fingerprint=unfitted_model.fingerprint)
        assert both.model_of(other) is unfitted_model
        assert both.codec_of(other).model is unfitted_model

    def test_unknown_fingerprint_names_what_is_held_and_what_came(
        self, held: HeldModels, detector_model: Model, unfitted_model: Model, make_constant: MakePacket
    ) -> None:
        packet = make_constant(fingerprint=b"\xab" * 8)
        with pytest.raises(FingerprintMismatch) as caught:
            held.model_of(packet)
        message = str(caught.value)
        assert detector_model.fingerprint.hex() in message
        assert detector_model.name in message
        assert "ab" * 8 in message
        with pytest.raises(FingerprintMismatch) as caught:
            HeldModels([detector_model, unfitted_model]).codec_of(packet)
        for model in (detector_model, unfitted_model):
            assert f"{model.fingerprint.hex()} ({model.name})" in str(caught.value.expected)

    @pytest.mark.parametrize("codec", ["learned", "network", "private-128"])
    def test_a_codec_that_the_model_does_not_have(
        self, unfitted_model: Model, make_constant: MakePacket, codec: str
    ) -> None:
        packet = make_constant(codec=codec, fingerprint=unfitted_model.fingerprint)
        has = rf"codec: expected one that unfitted has the files of \(interpolate, raw\), found {codec}"
        with pytest.raises(InvalidField, match=has):
            HeldModels([unfitted_model]).codec_of(packet)


class TestLimits:
    def test_follow_from_the_test_transform(self, held: HeldModels, detector_model: Model) -> None:
        limits = limits_for([detector_model])
        largest = detector_model.geometry((384, 640))
        assert limits.max_side == 640
        assert limits.max_elements == largest.elements(["p2"])
        assert held.limits == limits

    def test_the_largest_model_counts(self, detector_model: Model) -> None:
        small = replace(
            detector_model, preprocessor=replace(detector_model.preprocessor, short_side=64, long_side_max=96)
        )
        assert (
            limits_for([small, detector_model]) == limits_for([detector_model, small]) == limits_for([detector_model])
        )
        assert limits_for([small]).max_side == 96

    def test_are_kept_where_they_are_given(self, detector_model: Model, make_constant: MakePacket) -> None:
        held = HeldModels([detector_model], Limits(max_packet_bytes=100))
        with pytest.raises(LimitExceeded, match="packet: expected at most 100 bytes"):
            held.read(make_constant().serialize())

    def test_a_small_packet_cannot_ask_for_a_large_pyramid(self, held: HeldModels, make_constant: MakePacket) -> None:
        packet = make_constant((640, 640))
        data = packet.serialize()
        assert len(data) < 10_000
        with pytest.raises(LimitExceeded, match="640 x 640"):  # the transform gives 384 x 640 at most
            Unpacker(held).unpack(held.read(data))
        with pytest.raises(LimitExceeded, match="network size"):
            held.read(replace(packet, network_size=(8192, 8192)).serialize())

    def test_nothing_of_a_frame_too_large_is_decoded(self, held: HeldModels, make_constant: MakePacket) -> None:
        packet = make_constant((640, 640))
        broken = tuple(replace(chunk, payload=b"") for chunk in packet.chunks)
        with pytest.raises(LimitExceeded):
            Unpacker(held).unpack(replace(packet, chunks=broken))


class TestUnpacker:
    def test_gives_what_the_symbols_say(self, held: HeldModels, detector_model: Model) -> None:
        size = (33, 64)
        geometry = detector_model.geometry(size)
        values = np.random.default_rng(0).normal(size=geometry.level_shape("p3")).astype(np.float32)
        packet = Packet(
            codec="raw",
            quality=7,
            fingerprint=detector_model.fingerprint,
            stream_id=1,
            frame_id=1,
            capture_time=0,
            image_size=(66, 128),
            network_size=size,
            chunks=(encode_level("p3", values, Float(32), "store"),),
        )
        frame = Unpacker(held).unpack(packet)
        assert (frame.codec.name, frame.codec.model) == ("raw", detector_model)
        assert frame.image_size == (66, 128)
        assert (frame.unpacked.geometry, frame.unpacked.quality) == (geometry, 7)
        assert list(frame.unpacked.arrays) == ["p3"]
        np.testing.assert_array_equal(frame.unpacked.arrays["p3"], values)

    def test_has_a_decoder_for_each_codec_and_model_of_its_stream(
        self, detector_model: Model, unfitted_model: Model, make_constant: MakePacket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = HeldModels([detector_model, unfitted_model])
        made: list[tuple[str, str]] = []
        for codec in (*held.codecs(detector_model), *held.codecs(unfitted_model)):

            def decoder(codec=codec, make=codec.decoder) -> object:
                made.append((codec.model.name, codec.name))
                return make()

            monkeypatch.setattr(codec, "decoder", decoder)
        interpolate = make_constant()
        raw, other = replace(interpolate, codec="raw"), replace(interpolate, fingerprint=unfitted_model.fingerprint)
        first, second = Unpacker(held), Unpacker(held)
        assert not made
        for packet in (interpolate, interpolate, raw, other, raw, interpolate, other):
            first.unpack(packet)
        expected = [(detector_model.name, "interpolate"), (detector_model.name, "raw"), ("unfitted", "interpolate")]
        assert made == expected
        second.unpack(interpolate)  # another stream's: what a decoder remembers is of one stream
        assert made == [*expected, expected[0]]

    def test_a_bad_packet_does_not_harm_the_next(self, held: HeldModels, make_constant: MakePacket) -> None:
        unpacker, good = Unpacker(held), make_constant()
        cut = tuple(replace(chunk, payload=chunk.payload[:-1]) for chunk in good.chunks)
        for _ in range(2):
            with pytest.raises(CorruptPayload):
                unpacker.unpack(replace(good, chunks=cut))
            with pytest.raises(FingerprintMismatch):
                unpacker.unpack(replace(good, fingerprint=bytes(8)))
            assert list(unpacker.unpack(good).unpacked.arrays) == ["p3", "p5"]


def test_a_detector_that_resizes_nothing_takes_pictures_up_to_its_long_side(detector_model: Model) -> None:
    """``MIN_SIZE_TEST: 0`` in detectron2's configs."""
    as_they_are = replace(detector_model, preprocessor=replace(detector_model.preprocessor, short_side=0))
    limits = limits_for([as_they_are])
    assert limits.max_side == detector_model.preprocessor.long_side_max
    geometry = detector_model.geometry((limits.max_side, limits.max_side))
    assert limits.max_elements == geometry.elements(["p2"])
