"""Frames on their way through a codec and the wire."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Arrays, Encoder, Unpacked
from keyfpn.reconstruct.registry import codec_of, open_encoder


def send(settings: str, model: Model, features: Mapping[str, Tensor], size: tuple[int, int]) -> Packet:
    """Analyse and encode the features of a picture of ``size``, (height, width), and parse the packet again."""
    encoder = open_encoder(settings, model)
    return packet_of(encoder, encoder.codec.analysis(encoder).arrays(features), size)


def packet_of(encoder: Encoder, arrays: Arrays, size: tuple[int, int]) -> Packet:
    """Encode an encoder's inputs, and parse the packet again."""
    packet = encoder.packet(arrays, image_size=size, network_size=size)
    return Packet.parse(packet.serialize())


def unpack(packet: Packet, model: Model, limits: Limits = DEFAULT_LIMITS) -> Unpacked:
    """Find the packet's codec and decode its chunks."""
    return codec_of(packet, model).decoder().unpack(packet, limits)


def receive(packet: Packet, model: Model, limits: Limits = DEFAULT_LIMITS) -> dict[str, Tensor]:
    """The whole way of a packet: the pyramid, (1, C, h, w) each."""
    return codec_of(packet, model).rebuilder().rebuild([unpack(packet, model, limits)])


def random_arrays(encoder: Encoder, size: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    """Something of the right shapes for an encoder to code, without a network."""
    random, geometry = np.random.default_rng(seed), encoder.codec.model.geometry(size)
    arrays = {}
    for name in encoder.inputs:
        shape = geometry.level_shape(name) if name.startswith("p") else latent_shape(encoder, name, size)
        arrays[name] = (3 * random.standard_normal(shape)).astype(np.float32)
    return arrays


def latent_shape(encoder: Encoder, name: str, size: tuple[int, int]) -> tuple[int, int, int]:
    """Of y0, y1 or y2, as the learned codec has them."""
    place = encoder.inputs.index(name)
    channels = encoder.codec.shape.latents[place]
    return channels, *encoder.codec.model.geometry(size).cells(32 >> place)
