"""The seam between the two halves: arrays to chunks on the edge, a packet to a pyramid on the server.

    edge     features ──► EdgeAnalysis ──► arrays ──► Encoder ──► chunks
                          torch            NumPy      one per stream
    server   packet ──► Decoder ──► Unpacked ──► Rebuilder ──► p2 … p6
                        one per     NumPy        torch, a batch, no memory
                        stream

A `Codec` belongs to one model and makes all four; whoever holds one of them can use it, since each reads and checks its
files when it is made. What a stream remembers lives in its `Encoder` and its `Decoder`, nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Chunk
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet, codec_name

from .settings import CodecSettings

if TYPE_CHECKING:  # an edge with another runtime, and a client, do without torch
    from torch import Tensor

Arrays = Mapping[str, NDArray[np.float32]]
"""Name of a level or latent to its (C, h, w) values."""


class Encoder(ABC):
    """Codes the arrays of one stream's frames, in order; may remember the frame before.

    Attributes:
        codec: that it belongs to.
        settings: every option with its value: the same settings always give the same text.
        inputs: the names of the arrays that it codes.
        reads: what :class:`~keyfpn.detector.torch.edge_half.EdgeHalf` has to compute for these.
        quality: for the packet's header; 0 for codecs without qualities.
    """

    codec: Codec
    settings: CodecSettings
    inputs: tuple[str, ...]
    reads: tuple[str, ...]
    quality: int = 0

    @abstractmethod
    def encode(self, arrays: Arrays) -> tuple[Chunk, ...]:
        """The chunks of one frame, in wire order.

        Args:
            arrays: those of :attr:`inputs`, (C, h, w) float32 each.

        Raises:
            FeatureError: values that the codec's numbers cannot hold.
        """

    def packet(
        self,
        arrays: Arrays,
        *,
        image_size: tuple[int, int],
        network_size: tuple[int, int],
        stream_id: int = 0,
        frame_id: int = 0,
        capture_time: int = 0,
    ) -> Packet:
        """The packet of one frame; arguments as for :class:`~keyfpn.protocol.packet.Packet` and :meth:`encode`."""
        return Packet(
            codec=self.codec.wire_name,
            quality=self.quality,
            fingerprint=self.codec.model.fingerprint,
            stream_id=stream_id,
            frame_id=frame_id,
            capture_time=capture_time,
            image_size=image_size,
            network_size=network_size,
            chunks=self.encode(arrays),
        )


@dataclass(frozen=True, eq=False)
class Unpacked:
    """What a packet's symbols say.

    Attributes:
        arrays: level or latent to its (C, h, w) values.
        geometry: of the frame.
        quality: of the packet.
    """

    arrays: Mapping[str, NDArray[Any]]
    geometry: Geometry
    quality: int

    @property
    def batch_key(self) -> tuple[object, ...]:
        """Frames of one codec with the same key can be rebuilt in one batch."""
        return (self.geometry.padded_size, *self.arrays)


def check_batch(batch: Sequence[Unpacked]) -> None:
    """For rebuilders: raises ValueError unless the frames, one at least, all have the same key."""
    keys = {unpacked.batch_key for unpacked in batch}
    if len(keys) != 1:
        raise ValueError(
            f"expected frames of one padded size with the same arrays in a batch, found {sorted(map(str, keys))}"
        )


class Decoder(ABC):
    """Unpacks the packets of one stream, in order; may remember the frame before."""

    @abstractmethod
    def unpack(self, packet: Packet, limits: Limits = DEFAULT_LIMITS) -> Unpacked:
        """Decode a packet's chunks.

        Args:
            packet: made with the decoder's model and codec.
            limits: of what may be allocated.

        Raises:
            ProtocolError: a packet that the codec would not have written for this model.
        """


class Rebuilder(ABC):
    """Makes pyramids of what was unpacked. Stateless, so that one serves all streams, from several threads at once."""

    @abstractmethod
    def rebuild(self, batch: Sequence[Unpacked]) -> dict[str, Tensor]:
        """Rebuild the pyramids of N frames with the same :attr:`Unpacked.batch_key`.

        Returns:
            Every level of the pyramid, fine to coarse, (N, C, h, w) float32, on the rebuilder's device.

        Raises:
            ValueError: frames with several keys, or none at all.
        """


class EdgeAnalysis(ABC):
    """What the edge's network computes on top of the backbone, in torch; another runtime has it in its graph."""

    @abstractmethod
    def analyze(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The encoder's inputs of N pictures.

        Args:
            features: what the encoder reads, (N, C, h, w) float32.

        Returns:
            Each of the encoder's inputs, (N, C, h, w) float32.
        """

    def arrays(self, features: Mapping[str, Tensor]) -> Arrays:
        """:meth:`analyze` of one picture, as an encoder takes it."""
        return {name: array[0].contiguous().cpu().numpy() for name, array in self.analyze(features).items()}


class Codec(ABC):
    """A way for the pyramids of one model to travel. Register a class of it in :mod:`~keyfpn.reconstruct.registry`.

    Attributes:
        name: as in settings.
        wire_id: in the packet's header; 128 to 255 are for codecs that are not keyfpn's own.
        files: files and folders of a model folder that belong to the codec: besides the detector, what it does depends
            on these.
        model: whose pyramids travel.
    """

    name: ClassVar[str]
    wire_id: ClassVar[int]
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Model) -> None:
        """Take the model; nothing is read yet."""
        self.model = model

    @property
    def wire_name(self) -> str:
        """As in ``Packet.codec``: the name, or for a wire id from 128 on ``private-128`` and so on."""
        return codec_name(self.wire_id)

    @abstractmethod
    def can_decode(self) -> bool:
        """Whether this copy of the model has all that a server needs."""

    @abstractmethod
    def encoder(self, settings: CodecSettings) -> Encoder:
        """For a stream of frames.

        Raises:
            ConfigurationError: settings that cannot work, or that the model has no files for.
            ModelError: a file is missing or malformed.
        """

    @abstractmethod
    def analysis(self, encoder: Encoder, device: str = "cpu") -> EdgeAnalysis:
        """What makes the inputs of an encoder of this codec.

        Raises:
            ModelError: a file is missing or malformed.
        """

    @abstractmethod
    def decoder(self) -> Decoder:
        """For a stream of packets.

        Raises:
            ModelError: a file is missing or malformed.
        """

    @abstractmethod
    def rebuilder(self, device: str = "cpu") -> Rebuilder:
        """For a device, as torch names it.

        Raises:
            ModelError: a file is missing or malformed.
        """

    @abstractmethod
    def provenance(self, sent: Sequence[str]) -> dict[str, str]:
        """For each level of the pyramid, in words: sent, exact from another level, or how it is rebuilt.

        Args:
            sent: names of a packet's chunks.
        """

    @abstractmethod
    def sweep(self) -> list[CodecSettings]:
        """The settings that a benchmark compares, from one end of the codec's range to the other."""
