"""From a picture to the bytes of a packet.

picture ──► resize ──► EdgeHalf ──► FeatureCodec.encode ──► Packet.serialize
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor
from keyfpn.detector.split import EdgeHalf, Precision
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import FeatureCodec

from .memory import release_freed_memory
from .sources import Frame, Report


@dataclass(frozen=True)
class StageTimes:
    """Where the edge's time went, in milliseconds.

    Attributes:
        prepare: resizing and reordering the picture.
        network: backbone and key levels, to the CPU.
        code: the codec and the packet around it.
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
        raw_bytes: of p2 … p6 as float32, which compression ratios start from.
        times: what each stage took.
    """

    frame: Frame
    packet: Packet
    data: bytes
    raw_bytes: int
    times: StageTimes

    @property
    def x_fold(self) -> float:
        """How many times smaller than float32 p2 … p6."""
        return self.raw_bytes / len(self.data)


class EdgeEncoder:
    """The edge's half of one detector and one codec, for one stream of frames.

    Holds the backbone and the FPN layers of the key levels; the rest of the detector is dropped once it is built.
    """

    def __init__(
        self,
        model: DetectorModel,
        codec: FeatureCodec,
        *,
        precision: Precision = "fp32",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Build the network.

        Args:
            model: the detector; its fingerprint goes into every packet.
            codec: of this model.
            precision: of the convolutions.
            limits: of the receiver.

        Raises:
            ModelError: the detector cannot be built, or has not the codec's key levels.
        """
        self._model, self._codec, self._limits = model, codec, limits
        self._preprocessor = Preprocessor(model.cfg)
        self._half = EdgeHalf(model.build(), codec.key_levels, precision=precision)
        self.stream_id = 1 + secrets.randbelow(2**64 - 1)  # 0 stands for "unknown" in answers

    def encode(self, frame: Frame) -> EncodedFrame:
        """Compute, code and pack the key levels of a frame.

        Raises:
            ProtocolError: a packet that a receiver with these limits would refuse.
            ValueError: a picture too thin to resize, or features that the codec's numbers cannot hold.
        """
        start = time.perf_counter()
        resized = self._preprocessor.resize(frame.picture)
        network_input = self._preprocessor.to_input(resized)
        prepared = time.perf_counter()
        features = {level: feature.cpu() for level, feature in self._half(network_input).items()}
        computed = time.perf_counter()
        packet = Packet(
            codec=self._codec.name,
            quality=self._codec.quality,
            fingerprint=self._model.fingerprint,
            stream_id=self.stream_id,
            frame_id=frame.frame_id,
            capture_time=frame.capture_time,
            image_size=(frame.picture.shape[0], frame.picture.shape[1]),
            network_size=(resized.shape[0], resized.shape[1]),
            chunks=self._codec.encode(features),
        )
        data = packet.serialize(self._limits)
        times = StageTimes(
            prepare=1e3 * (prepared - start),
            network=1e3 * (computed - prepared),
            code=1e3 * (time.perf_counter() - computed),
        )
        return EncodedFrame(frame, packet, data, self._model.geometry(packet.network_size).raw_bytes(), times)

    def encode_all(self, frames: Iterable[Frame], report: Report) -> Iterator[EncodedFrame]:
        """Encode frames one by one; one that cannot be is reported and passed over."""
        for frame in frames:
            try:
                yield self.encode(frame)
            except (ProtocolError, ValueError) as error:
                report(f"{frame.name}: {error}")
            release_freed_memory()
