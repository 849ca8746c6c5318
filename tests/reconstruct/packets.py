"""Packets of a codec, as they come out of the wire."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import FeatureCodec, build_codec


def send(settings: str, model: Model, features: Mapping[str, Tensor], size: tuple[int, int]) -> Packet:
    """Encode the features of a picture of ``size``, (height, width), and parse the packet again."""
    return packet_of(build_codec(settings, model), model, features, size)


def packet_of(codec: FeatureCodec, model: Model, features: Mapping[str, Tensor], size: tuple[int, int]) -> Packet:
    """The same with a codec at hand."""
    packet = Packet(
        codec=codec.name,
        quality=codec.quality,
        fingerprint=model.fingerprint,
        stream_id=1,
        frame_id=2,
        capture_time=3,
        image_size=size,
        network_size=size,
        chunks=codec.encode(features),
    )
    return Packet.parse(packet.serialize())
