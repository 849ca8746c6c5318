"""Codec settings as one line of text: for the command line, for tables and for the benchmark's cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from keyfpn.protocol.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OPTION = re.compile(r"([a-z][a-z0-9_]*)=([A-Za-z0-9_.+-]+)")


@dataclass(frozen=True)
class CodecSettings:
    """A codec's name and its options, as in ``interpolate:levels=p3+p5,precision=int4,coder=ans``."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> CodecSettings:
        """Read ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``.

        Raises:
            ConfigurationError: text of another form, or an option named twice.
        """
        name, _, rest = text.partition(":")
        matches = [_OPTION.fullmatch(option) for option in rest.split(",")] if rest else []
        options = [(match[1], match[2]) for match in matches if match]
        if not _NAME.fullmatch(name) or len(options) != len(matches) or len(dict(options)) != len(options):
            expected = "NAME or NAME:KEY=VALUE,KEY=VALUE with each key once"
            hint = "An example: interpolate:levels=p3+p5,precision=int4,coder=ans"
            raise ConfigurationError("codec settings", expected, repr(text), hint)
        return cls(name, tuple(options))

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.name}:{options}" if options else self.name

    def choose(self, key: str, allowed: Mapping[str, object] | tuple[str, ...], default: str) -> str:
        """The value of an option that takes one of a few.

        Raises:
            ConfigurationError: another value.
        """
        value = dict(self.options).get(key, default)
        if value not in allowed:
            raise ConfigurationError(f"codec {self.name}, {key}", f"one of {', '.join(allowed)}", repr(value))
        return value

    def require_known(self, keys: tuple[str, ...]) -> None:
        """Refuse options that the codec does not have.

        Raises:
            ConfigurationError: there is one.
        """
        unknown = [key for key, _ in self.options if key not in keys]
        if unknown:
            expected = f"some of {', '.join(keys)}" if keys else "none"
            raise ConfigurationError(f"codec {self.name}, options", expected, ", ".join(unknown))
