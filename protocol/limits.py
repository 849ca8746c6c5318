"""How much a receiver is willing to hold for one packet."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds checked before anything is allocated for the value that they bound.

    The defaults let one decoded level take 256 MiB of float32. A server that knows its clients sets them lower; one
    that takes float32 levels of large pictures raises `max_packet_bytes`.

    Attributes:
        max_packet_bytes: length of a whole packet.
        max_side: height or width of the network input, in pixels; every level's size follows from it.
        max_chunks: chunks in a packet.
        max_extension_bytes: length of the extension area.
        max_elements: values in one decoded level or latent, channels x height x width.
    """

    max_packet_bytes: int = 128 << 20
    max_side: int = 8192
    max_chunks: int = 16
    max_extension_bytes: int = 64 << 10
    max_elements: int = 64 << 20


DEFAULT_LIMITS = Limits()
