"""What goes wrong between an edge and its server, one frame's faults apart."""

from keyfpn.protocol.errors import Error


class ServerError(Error):
    """The server cannot be used: it is not there, holds another model, went away, or answers what is no answer.

    The message names its address and says what to do.
    """
