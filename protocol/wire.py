"""Little-endian integers and varints: the letters that packets and payloads are written in."""

from keyfpn.protocol.errors import InvalidField, Truncated

MAX_VARINT_BYTES = 5
MAX_VARINT = (1 << 7 * MAX_VARINT_BYTES) - 1


def write_varint(value: int) -> bytes:
    """`value` in LEB128, least significant group first, in the shortest form.

    Raises:
        InvalidField: `value` is negative or needs more than 5 bytes.
    """
    if not 0 <= value <= MAX_VARINT:
        raise InvalidField("varint", f"0 to {MAX_VARINT}", value)
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


class Reader:
    """A cursor over bytes that never reads past their end.

    Args:
        data: the bytes to read.
        subject: what they are, for the error messages.
    """

    def __init__(self, data: bytes, subject: str) -> None:
        self._data = data
        self._subject = subject
        self.offset = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.offset

    def take(self, count: int, field: str) -> bytes:
        """The next `count` bytes.

        Raises:
            Truncated: fewer are left.
        """
        if count > self.remaining:
            raise Truncated(f"{self._subject}, {field}", f"{count} bytes at offset {self.offset}", self.remaining)
        start, self.offset = self.offset, self.offset + count
        return self._data[start : self.offset]

    def uint(self, size: int, field: str) -> int:
        """The next unsigned little-endian integer of `size` bytes.

        Raises:
            Truncated: fewer bytes are left.
        """
        return int.from_bytes(self.take(size, field), "little")

    def varint(self, field: str) -> int:
        """The next varint, 0 to 2**35 - 1.

        Raises:
            Truncated: the bytes end within it.
            InvalidField: it is longer than 5 bytes, or not in its shortest form.
        """
        value = 0
        for position in range(MAX_VARINT_BYTES):
            group = self.uint(1, field)
            value |= (group & 0x7F) << 7 * position
            if group < 0x80:
                if group == 0 and position > 0:
                    raise InvalidField(f"{self._subject}, {field}", "a varint in its shortest form", "a padded one")
                return value
        raise InvalidField(f"{self._subject}, {field}", f"a varint of at most {MAX_VARINT_BYTES} bytes", "a longer one")
