"""The errors of the wire format.

Whatever bytes come in, `protocol` answers with a value or with a subclass of `ProtocolError`, never with another
exception. Settings that can never work are a `ConfigurationError` instead, raised before any frame is coded.
"""
# ruff: noqa: N818  # the names say what happened and travel as `FrameError.kind`; "Error" at each end would add nothing


class ProtocolError(Exception):
    """Bytes, or a packet about to be written, that break the wire format.

    Attributes:
        subject: what the error is about, e.g. ``"chunk p3, payload"``.
        expected: what the format, the limits or the receiver ask for.
        found: what was there instead.
        hint: what to do about it; may be empty.
    """

    def __init__(self, subject: str, expected: object, found: object, hint: str = "") -> None:
        super().__init__(subject, expected, found, hint)  # all of them in `args`, so that the error can be pickled
        self.subject = subject
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        message = f"{self.subject}: expected {self.expected}, found {self.found}"
        return f"{message}. {self.hint}" if self.hint else message


class Truncated(ProtocolError):
    """The bytes end before the field that they announce."""


class TrailingBytes(ProtocolError):
    """Bytes follow the last field of a packet or of an extension area."""


class BadMagic(ProtocolError):
    """The bytes do not begin as a keyfpn packet does."""


class UnsupportedVersion(ProtocolError):
    """A packet of a format version that this build does not read."""


class ChecksumMismatch(ProtocolError):
    """The CRC-32C at the end does not belong to the bytes before it: damaged or cut on the way."""


class LimitExceeded(ProtocolError):
    """A size above the receiver's `Limits`, refused before anything is allocated for it."""


class InvalidField(ProtocolError):
    """A field with a value that the format does not define, or that does not go with its neighbours."""


class CorruptPayload(ProtocolError):
    """A chunk's payload that is not what its coder writes for the level's shape."""


class FingerprintMismatch(ProtocolError):
    """A packet made with another model than the receiver's."""


class ConfigurationError(ValueError):
    """Settings that cannot work together, such as the coder `ans` with floats."""
