"""Whether an address can be listened on, asked before the seconds that loading a model takes."""

from __future__ import annotations

import socket

from .errors import ListenError


def check_address(host: str, port: int) -> None:
    """Bind the address and let go of it again.

    gRPC says only that it could not listen; the system's own error gives the reason.

    Args:
        host: name or address.
        port: 0 asks for a free one.

    Raises:
        ListenError: it cannot be listened on.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does: a past server is no obstacle
            probe.bind(address)
    except OSError as error:
        raise ListenError(f"{host}:{port}", "an address to listen on", error.strerror) from error
