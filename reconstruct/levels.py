"""Sends key levels one by one, as floats or integers: the part that `raw` and `interpolate` share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol.chunk import Chunk, Float, Quantization, Uniform, check_coding, decode_level, encode_level
from keyfpn.protocol.entropy import CODER_IDS
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.limits import DEFAULT_LIMITS, Limits
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import MAX_BITS, MIN_BITS, Ranges, fit_ranges

from .codec import LEVELS, FeatureCodec
from .parameters import MIXES_FILE, RANGES_FILE, Parameters
from .settings import CodecSettings

PRECISIONS: dict[str, int] = {"fp32": 32, "fp16": 16} | {f"int{b}": b for b in range(MIN_BITS, MAX_BITS + 1)}
RANGE_SOURCES = ("model", "picture", "minmax")


class LevelCodec(FeatureCodec):
    """Key levels as chunks; what a subclass does with the levels that are missing is its own.

    Options:
        levels: key levels joined by ``+``.
        precision: ``fp32``, ``fp16``, or ``int2`` to ``int8``.
        coder: ``store``, ``zstd``, or for integers ``ans``.
        ranges: of integers, per channel: ``model`` (the clip of least squared error, fitted on train pictures and kept
            with the model), ``picture`` (the same fitted to each picture, and sent), ``minmax`` (each picture's
            extremes, sent).
    """

    files = (RANGES_FILE, MIXES_FILE)
    default_levels: str

    def __init__(
        self,
        key_levels: Sequence[str],
        parameters: Parameters,
        *,
        precision: str = "fp32",
        coder: str = "store",
        ranges: str = "picture",
    ) -> None:
        """Use :func:`~keyfpn.reconstruct.codec.build_codec` or :func:`~keyfpn.reconstruct.codec.codec_of`."""
        self.key_levels = tuple(level for level in LEVELS if level in key_levels)
        self.parameters = parameters
        self.precision, self.coder, self.ranges = precision, coder, ranges

    @classmethod
    def from_settings(cls, settings: CodecSettings, model: DetectorModel) -> Self:
        """See the class for the options; their defaults are int8 (ans) with the model's ranges where it has them."""
        settings.require_known(("levels", "precision", "coder", "ranges"))
        precision = settings.choose("precision", PRECISIONS, "int8")
        integers = precision.startswith("int")
        coder = settings.choose("coder", CODER_IDS, "ans" if integers else "store")
        levels = dict(settings.options).get("levels", cls.default_levels).split("+")
        if not set(levels) <= set(LEVELS) or len(set(levels)) != len(levels):
            raise ConfigurationError(
                f"codec {cls.name}: expected levels among {', '.join(LEVELS)}, each once, joined by +, found "
                f"{'+'.join(levels)!r}"
            )
        parameters = Parameters.of(model)
        fitted = all((level, PRECISIONS[precision]) in parameters.ranges for level in levels)
        if not integers and "ranges" in dict(settings.options):
            raise ConfigurationError(f"codec {cls.name}: {precision} has no ranges; leave the option out")
        ranges = settings.choose("ranges", RANGE_SOURCES, "model" if fitted else "picture")
        if integers and ranges == "model" and not fitted:
            raise ConfigurationError(
                f"codec {cls.name}: model {model.name} has no fitted {precision} ranges of {'+'.join(levels)}; run "
                "keyfpn-train fit, or send them with ranges=picture"
            )
        codec = cls(levels, parameters, precision=precision, coder=coder, ranges=ranges)
        check_coding(codec._quantization(None), coder)
        return codec

    @classmethod
    def from_packet(cls, packet: Packet, model: DetectorModel) -> Self:
        """The key levels are those of the packet's chunks; each chunk tells its own precision and coder."""
        levels = packet.key_levels
        if not levels or not set(levels) <= set(LEVELS):
            raise InvalidField(
                f"levels of a {cls.name} packet", f"some of {', '.join(LEVELS)}", ", ".join(levels) or "none"
            )
        return cls(levels, Parameters.of(model))

    @property
    def settings(self) -> CodecSettings:
        options = [("levels", "+".join(self.key_levels)), ("precision", self.precision), ("coder", self.coder)]
        if self.precision.startswith("int"):
            options.append(("ranges", self.ranges))
        return CodecSettings(self.name, tuple(options))

    def encode(self, features: Mapping[str, Tensor]) -> tuple[Chunk, ...]:
        return tuple(self._encode_level(level, features[level]) for level in self.key_levels)

    def _encode_level(self, level: str, feature: Tensor) -> Chunk:
        values = feature[0].contiguous().numpy()
        model_ranges = self.parameters.ranges.get((level, PRECISIONS[self.precision]))
        measured = None
        if self.precision.startswith("int") and self.ranges != "model":
            measured = fit_ranges(values, PRECISIONS[self.precision], "mse" if self.ranges == "picture" else "minmax")
        return encode_level(level, values, self._quantization(measured), self.coder, model_ranges)

    def _quantization(self, measured: Ranges | None) -> Quantization:
        bits = PRECISIONS[self.precision]
        return Uniform(bits, measured) if self.precision.startswith("int") else Float(bits)

    def decode(self, chunks: Sequence[Chunk], geometry: Geometry, limits: Limits = DEFAULT_LIMITS) -> dict[str, Tensor]:
        sent = {chunk.level: self._decode_level(chunk, geometry, limits) for chunk in chunks}
        if "p6" not in sent and "p5" in sent:
            sent["p6"] = last_level_max_pool(sent["p5"])
        missing = [level for level in LEVELS if level not in sent]
        pyramid = sent | self.rebuild(missing, sent, geometry) if missing else sent
        return {level: pyramid[level] for level in LEVELS}

    def _decode_level(self, chunk: Chunk, geometry: Geometry, limits: Limits) -> Tensor:
        bits = chunk.quantization.bits if isinstance(chunk.quantization, Uniform) else 0
        model_ranges = self.parameters.ranges.get((chunk.level, bits))
        values = decode_level(chunk, geometry.level_shape(chunk.level), limits, model_ranges)
        return torch.from_numpy(values)[None]

    @abstractmethod
    def rebuild(self, missing: Sequence[str], sent: Mapping[str, Tensor], geometry: Geometry) -> dict[str, Tensor]:
        """Make the levels that were not sent, (1, C, h, w) each, out of those that were.

        p6 is among ``sent`` whenever p5 is, since it is exact from p5.
        """

    def provenance(self) -> dict[str, str]:
        words = {level: "sent" if level in self.key_levels else self.rule(level) for level in LEVELS}
        if "p5" in self.key_levels and "p6" not in self.key_levels:
            words["p6"] = "exact from p5 (max-pool, kernel 1, stride 2)"
        return words

    @abstractmethod
    def rule(self, level: str) -> str:
        """In words, how :meth:`rebuild` makes a level."""


def last_level_max_pool(p5: Tensor) -> Tensor:
    """p6, exactly: detectron2's ``LastLevelMaxPool``."""
    return F.max_pool2d(p5, kernel_size=1, stride=2)
