"""Sends key levels one by one; what becomes of the levels that are missing is each codec's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from ..codec import Codec, EdgeAnalysis, Encoder
from ..settings import CodecSettings
from .coders import LevelDecoder, LevelEncoder
from .coding import Coding
from .parameters import MIXES_FILE, RANGES_FILE, Parameters

if TYPE_CHECKING:
    from .rebuilder import LevelRebuilder

# zstd next to ans where the study could have used it: on floats, and on the widest and the usual integers.
_SWEPT = (
    "precision=fp32",
    "precision=fp16",
    "precision=fp32,coder=zstd",
    *(f"precision=int{bits}" for bits in (8, 6, 5, 4, 3, 2)),
    "precision=int8,coder=zstd",
    "precision=int4,coder=zstd",
)


class LevelCodec(Codec):
    """Key levels as chunks. Options: those of :class:`~.coding.Coding`."""

    files: ClassVar[tuple[str, ...]] = (RANGES_FILE, MIXES_FILE)
    default_levels: ClassVar[str]
    swept: ClassVar[Sequence[str]] = _SWEPT

    @cached_property
    def parameters(self) -> Parameters:
        """What was fitted to the model's features.

        Raises:
            ModelError: a file is malformed.
        """
        return Parameters.of(self.model)

    @property
    def required(self) -> tuple[str, ...]:
        """At least one of these levels must be key."""
        return self.model.pyramid.levels

    def can_decode(self) -> bool:
        fitted = (RANGES_FILE, MIXES_FILE)  # a model that was never fitted has none, and needs none
        return all(self.model.has(name) for name in fitted if self.model.published_with(name))

    def encoder(self, settings: CodecSettings) -> LevelEncoder:
        coding = Coding.parse(settings, self.default_levels, self.model, self.parameters)
        return LevelEncoder(self, coding, self.parameters)

    def analysis(self, encoder: Encoder, device: str = "cpu") -> EdgeAnalysis:
        from .rebuilder import LevelsThemselves

        return LevelsThemselves(encoder.inputs)

    def decoder(self) -> LevelDecoder:
        return LevelDecoder(self.name, self.model, self.parameters, self.required)

    @abstractmethod
    def rebuilder(self, device: str = "cpu") -> LevelRebuilder: ...

    def provenance(self, sent: Sequence[str]) -> dict[str, str]:
        words = {}
        for level in self.model.pyramid.levels:
            source = self.model.pyramid.derived.get(level)
            if level in sent:
                words[level] = "sent"
            elif source is None:
                words[level] = self.rule(level, sent)
            elif source in sent:
                words[level] = self.model.pyramid.origin(level)
            else:
                words[level] = f"max-pool of the rebuilt {source}"
        return words

    @abstractmethod
    def rule(self, level: str, sent: Sequence[str]) -> str:
        """In words, how an independent level that was not sent is made."""

    def sweep(self) -> list[CodecSettings]:
        return [CodecSettings.parse(f"{self.name}:{options}") for options in self.swept]
