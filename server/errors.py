"""What goes wrong on the server besides packets, models and pictures, whose errors the rooms below have."""

from keyfpn.protocol.errors import Error


class ListenError(Error):
    """The address cannot be listened on: in use, not of this machine, or not allowed."""


class PacketFileError(Error):
    """A packet file that cannot be used, whatever its bytes are."""
