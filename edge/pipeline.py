"""From a picture to a packet: the edge's half of one detector and one codec.

picture ──► resize ──► EdgeNetwork ──► Encoder ──► Packet ──► bytes
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.detector.prepare import read_picture
from keyfpn.protocol.errors import FeatureError, ProtocolError
from keyfpn.protocol.frame import Frame, Picture
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packages import packages_of_extras
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Arrays, Encoder
from keyfpn.reconstruct.registry import default_codec, open_encoder

from .memory import release_freed_memory

Report = Callable[[str], None]
"""Takes the message about an input that failed."""


class EdgeNetwork(Protocol):
    """Computes an encoder's inputs, in torch or another runtime."""

    def __call__(self, picture: NDArray[np.uint8]) -> Arrays:
        """(3, H, W) uint8 of network size, in the detector's channel order, to (C, h, w) float32 arrays."""


@dataclass(frozen=True)
class StageTimes:
    """Where the edge's time went, in milliseconds.

    Attributes:
        prepare: resizing and reordering the picture.
        network: backbone, key levels and analysis.
        code: the encoder and the packet around it.
    """

    prepare: float
    network: float
    code: float

    @property
    def total(self) -> float:
        return self.prepare + self.network + self.code


@dataclass(frozen=True)
class EncodedFrame:
    """A frame and its packet.

    Attributes:
        frame: what it was made of.
        packet: the fields.
        data: the packet's bytes.
        raw_bytes: of the whole pyramid as float32, which compression ratios start from.
        times: what each stage took.
    """

    frame: Frame
    packet: Packet
    data: bytes
    raw_bytes: int
    times: StageTimes

    @property
    def compression_ratio(self) -> float:
        """How many times smaller than the whole pyramid as float32."""
        return self.raw_bytes / len(self.data)


class Edge:
    """One stream of frames, encoded.

    >>> import numpy as np, keyfpn
    >>> edge = keyfpn.Edge(keyfpn.open_model(), codec="learned:quality=3")
    >>> packet = edge.encode(np.zeros((384, 512, 3), np.uint8))
    >>> packet.codec, packet.quality, packet.image_size
    ('learned', 3, (384, 512))

    Attributes:
        model: the detector; its fingerprint goes into every packet.
        encoder: of the stream.
        stream_id: of all its packets, drawn at random; above 0, which stands for "unknown" in answers.
    """

    def __init__(
        self,
        model: Model,
        codec: str | None = None,
        *,
        precision: Precision = "fp32",
        device: str = "cpu",
        limits: Limits = DEFAULT_LIMITS,
        network: Callable[[Encoder], EdgeNetwork] | None = None,
    ) -> None:
        """Check the settings, then build the network.

        Args:
            model: the detector.
            codec: settings such as ``learned:quality=3``; the model's best codec unless given.
            precision: of the network's convolutions.
            device: where the network computes, as torch names devices.
            limits: of the receiver.
            network: makes what computes the encoder's inputs; torch does unless given.

        Raises:
            ConfigurationError: settings that cannot work.
            ModelError: the model cannot be used, or lacks a file that the codec needs.
            MissingPackageError: torch or detectron2 is needed and not installed.
        """
        self.model, self._limits = model, limits
        self.encoder = open_encoder(codec or default_codec(model), model)
        if network is None:
            with packages_of_extras():
                from .networks.torch import TorchNetwork
            self._network: EdgeNetwork = TorchNetwork(model, self.encoder, precision=precision, device=device)
        else:
            self._network = network(self.encoder)
        self.stream_id = 1 + secrets.randbelow(2**64 - 1)
        self._running = itertools.count(1)

    def encode(self, picture: Picture | str | Path) -> Packet:
        """Encode a picture; its frame id is the next number, from 1.

        Args:
            picture: (H, W, 3) uint8 RGB, or a file.

        Raises:
            PictureError: the file cannot be read, or the picture cannot be resized.
            FeatureError: features that the codec's numbers cannot hold.
        """
        path = None if isinstance(picture, np.ndarray) else Path(picture)
        pixels = picture if isinstance(picture, np.ndarray) else read_picture(Path(picture))
        if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size or pixels.dtype != np.uint8:
            raise PictureError("picture", "(H, W, 3) uint8, RGB", f"{pixels.dtype} of shape {pixels.shape}")
        frame_id = next(self._running)
        name = path.stem if path else f"frame-{frame_id:06d}"
        return self.encode_frame(Frame(name, frame_id, pixels, time.time_ns() // 1000)).packet

    def encode_frame(self, frame: Frame) -> EncodedFrame:
        """Compute, code and pack a frame.

        Raises:
            PictureError: a picture that cannot be resized.
            FeatureError: features that the codec's numbers cannot hold.
            ProtocolError: a packet that a receiver with the limits would refuse.
        """
        start = time.perf_counter()
        preprocessor = self.model.preprocessor
        resized = preprocessor.resize(frame.picture)
        network_input = preprocessor.to_input(resized)
        prepared = time.perf_counter()
        arrays = self._network(network_input)
        computed = time.perf_counter()
        packet = self.encoder.packet(
            arrays,
            image_size=frame.size,
            network_size=(resized.shape[0], resized.shape[1]),
            stream_id=self.stream_id,
            frame_id=frame.frame_id,
            capture_time=frame.capture_time,
        )
        data = packet.serialize(self._limits)
        times = StageTimes(
            prepare=1e3 * (prepared - start),
            network=1e3 * (computed - prepared),
            code=1e3 * (time.perf_counter() - computed),
        )
        return EncodedFrame(frame, packet, data, self.model.geometry(packet.network_size).raw_bytes(), times)

    def encode_all(self, frames: Iterable[Frame], report: Report) -> Iterator[EncodedFrame]:
        """Encode frames one by one; one that is at fault itself is reported and passed over."""
        for frame in frames:
            try:
                yield self.encode_frame(frame)
            except (PictureError, FeatureError, ProtocolError) as error:
                report(f"{frame.name}: {error}")
            release_freed_memory()
