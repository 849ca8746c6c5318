"""The errors of keyfpn: one tree, whose messages say what was expected, what was found and what to do.

Whatever bytes come in, `protocol` answers with a value or with a subclass of `ProtocolError`, never with another
exception. Settings that can never work are a `ConfigurationError` instead, raised before any frame is coded. Every room
adds its own kinds below `Error`. A `ValueError` is a mistake of the program that calls, and nobody catches it.
"""
# ruff: noqa: N818  # the names say what happened and travel as `FrameError.kind`; "Error" at each end would add nothing


class Error(Exception):
    """What the person or the program that uses keyfpn can act on; the base of all its errors.

    Attributes:
        subject: what the error is about, such as a file or ``"chunk p3, payload"``.
        expected: what was asked for.
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


class ConfigurationError(Error):
    """Settings that cannot work, alone or together, such as the coder `ans` with floats."""


class FeatureError(Error):
    """Features that the numbers of a codec cannot hold: not finite, or too large for 16 bits."""


class ProtocolError(Error):
    """Bytes, or a packet about to be written, that break the wire format."""


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
