"""The one seam between the two halves: key levels in, chunks on the wire, the whole pyramid out."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor
from typing_extensions import Self

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.chunk import Chunk
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet

from .settings import CodecSettings

LEVELS = ("p2", "p3", "p4", "p5", "p6")
"""The whole pyramid, which every codec gives back."""


class FeatureCodec(ABC):
    """How a pyramid travels.

    An edge builds one from settings and calls :meth:`encode`; a server builds one from a packet and calls
    :meth:`decode`. Neither knows which codec it is.
    """

    name: ClassVar[str]
    """As in settings and in ``Packet.codec``."""
    key_levels: tuple[str, ...]
    """What the edge's half of the detector has to compute."""
    files: ClassVar[tuple[str, ...]]
    """Files and folders of a model folder that belong to the codec: what it does depends on these and the detector."""
    quality: int = 0
    """Goes into the packet's header; 0 for codecs that have no qualities."""
    qualities: int = 0
    """How many there are, from 1 on."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: CodecSettings, model: DetectorModel) -> Self:
        """The encoding side.

        Raises:
            ConfigurationError: settings that cannot work, or that this model has no files for.
        """

    @classmethod
    @abstractmethod
    def from_packet(cls, packet: Packet, model: DetectorModel) -> Self:
        """The decoding side.

        Raises:
            ProtocolError: a packet that this codec would not have written for this model.
        """

    @classmethod
    def serves(cls, model: DetectorModel) -> bool:
        """Whether this model has all that the codec needs in order to decode."""
        return True

    @property
    @abstractmethod
    def settings(self) -> CodecSettings:
        """Every option with its value: the same settings always give the same text."""

    @abstractmethod
    def encode(self, features: Mapping[str, Tensor]) -> tuple[Chunk, ...]:
        """Turn the key levels of one picture into chunks.

        Args:
            features: at least the key levels, each (1, C, h, w) float32, finite.

        Returns:
            The chunks of a packet, in wire order.
        """

    @abstractmethod
    def decode(self, chunks: Sequence[Chunk], geometry: Geometry, limits: Limits = DEFAULT_LIMITS) -> dict[str, Tensor]:
        """Rebuild the pyramid of one picture.

        Args:
            chunks: of the packet that this codec was built from.
            geometry: the shapes that the picture's size gives.
            limits: of what may be allocated.

        Returns:
            ``p2 … p6``, each (1, C, h, w) float32.

        Raises:
            ProtocolError: chunks that do not give features of these shapes.
        """

    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """For each of ``p2 … p6``, in words: sent, exact from another level, or how it is rebuilt."""


_REGISTRY: dict[str, type[FeatureCodec]] = {}


def register(codec: type[FeatureCodec]) -> type[FeatureCodec]:
    """Class decorator: makes a codec known by its name."""
    _REGISTRY[codec.name] = codec
    return codec


def codec_names(model: DetectorModel | None = None) -> list[str]:
    """The names of all registered codecs, or of those that can decode for a model."""
    return sorted(name for name, codec in _REGISTRY.items() if model is None or codec.serves(model))


def default_codec(model: DetectorModel) -> str:
    """The codec to use with a model unless told: the learned one where it was trained."""
    return "learned" if "learned" in codec_names(model) else "interpolate"


def identity(codec: FeatureCodec, model: DetectorModel) -> str:
    """What a codec's results with a model depend on, hashed: all the model's files but those of other codecs.

    Unlike the fingerprint it stays the same when another codec is trained anew.
    """
    owned = {file for known in _REGISTRY.values() for file in known.files}
    others = owned - set(codec.files)
    hashes = {name: value for name, value in model.manifest.hashes.items() if name.split("/")[0] not in others}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]


def build_codec(settings: CodecSettings | str, model: DetectorModel) -> FeatureCodec:
    """The codec that an edge encodes with.

    Raises:
        ConfigurationError: no such codec, or settings that cannot work.
    """
    settings = CodecSettings.parse(settings) if isinstance(settings, str) else settings
    if settings.name not in _REGISTRY:
        raise ConfigurationError(f"expected a codec among {', '.join(codec_names())}, found {settings.name!r}")
    return _REGISTRY[settings.name].from_settings(settings, model)


def codec_of(packet: Packet, model: DetectorModel) -> FeatureCodec:
    """The codec that decodes a packet.

    Raises:
        FingerprintMismatch: the packet was made with another model.
        ProtocolError: the codec refuses the packet.
    """
    packet.require_fingerprint(model.fingerprint)
    if packet.codec not in codec_names(model):
        raise InvalidField(
            "codec", f"one that {model.name} has the files of ({', '.join(codec_names(model))})", packet.codec
        )
    return _REGISTRY[packet.codec].from_packet(packet, model)
