"""How key levels are quantized and coded, as settings say it."""

from __future__ import annotations

from dataclasses import dataclass

from keyfpn.detector.model import Model
from keyfpn.protocol.chunk import Float, Quantization, Uniform, check_coding
from keyfpn.protocol.entropy import CODER_IDS
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.quantization import MAX_BITS, MIN_BITS, Ranges

from ..settings import CodecSettings
from .parameters import Parameters

PRECISIONS: dict[str, int] = {"fp32": 32, "fp16": 16} | {f"int{b}": b for b in range(MIN_BITS, MAX_BITS + 1)}
RANGE_SOURCES = ("model", "picture", "minmax")


@dataclass(frozen=True)
class Coding:
    """The options of a codec that sends key levels.

    Attributes:
        levels: key levels, fine to coarse; ``p3+p5`` in settings.
        precision: ``fp32``, ``fp16``, or ``int2`` to ``int8``.
        coder: ``store``, ``zstd``, or for integers ``ans``.
        ranges: of integers, per channel: ``model`` (the clip of least squared error, fitted on train pictures and kept
            with the model), ``picture`` (the same fitted to each picture, and sent), ``minmax`` (each picture's
            extremes, sent).
    """

    levels: tuple[str, ...]
    precision: str
    coder: str
    ranges: str

    @classmethod
    def parse(cls, settings: CodecSettings, default_levels: str, model: Model, parameters: Parameters) -> Coding:
        """Read settings; their defaults are int8 (ans) with the model's ranges where it has them.

        Raises:
            ConfigurationError: settings that cannot work, alone or with this model.
        """
        subject = f"codec {settings.name}"
        settings.require_known(("levels", "precision", "coder", "ranges"))
        given = dict(settings.options)
        precision = settings.choose("precision", PRECISIONS, "int8")
        integers = precision.startswith("int")
        coder = settings.choose("coder", CODER_IDS, "ans" if integers else "store")
        levels = model.pyramid.key_levels(given.get("levels", default_levels), subject)
        fitted = all((level, PRECISIONS[precision]) in parameters.ranges for level in levels)
        if not integers and "ranges" in given:
            raise ConfigurationError(f"{subject}, ranges", f"none with {precision}", given["ranges"])
        ranges = settings.choose("ranges", RANGE_SOURCES, "model" if fitted else "picture")
        if integers and ranges == "model" and not fitted:
            expected = f"fitted {precision} ranges of {'+'.join(levels)} in the model"
            hint = "Run keyfpn-train fit, or send them with ranges=picture."
            raise ConfigurationError(subject, expected, f"none in {model.name}", hint)
        coding = cls(levels, precision, coder, ranges)
        check_coding(coding.quantization(None), coder)
        return coding

    @property
    def integers(self) -> bool:
        """Whether values are quantized."""
        return self.precision.startswith("int")

    @property
    def bits(self) -> int:
        """Of a value."""
        return PRECISIONS[self.precision]

    def quantization(self, measured: Ranges | None) -> Quantization:
        """As a chunk has it, with ranges that travel or without."""
        return Uniform(self.bits, measured) if self.integers else Float(self.bits)

    def settings(self, codec: str) -> CodecSettings:
        """Every option with its value."""
        options = [("levels", "+".join(self.levels)), ("precision", self.precision), ("coder", self.coder)]
        if self.integers:
            options.append(("ranges", self.ranges))
        return CodecSettings(codec, tuple(options))
