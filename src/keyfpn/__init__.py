"""Split computing for object detection: key pyramid levels on the wire, the whole pyramid on the server.

A picture to boxes in one process:

>>> import keyfpn
>>> model = keyfpn.open_model()
>>> packet = keyfpn.Edge(model, codec="learned:quality=3").encode("street.jpg")  # doctest: +SKIP
>>> found = keyfpn.Server(model).detect(packet)  # doctest: +SKIP
>>> print(found.names, found.scores, found.boxes)  # doctest: +SKIP

Over the network, with `keyfpn-server serve` at the other end:

>>> edge = keyfpn.Edge(keyfpn.open_model())  # doctest: +SKIP
>>> with keyfpn.Client("localhost:50051", edge.model) as client:  # doctest: +SKIP
...     for answer in client.detect(map(edge.encode, ["street.jpg", "harbour.jpg"])):
...         print(answer.detections.names)

Nothing is imported before it is used: `import keyfpn` costs no torch, and a client never needs it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyfpn.detector.model import Model, open_model
    from keyfpn.edge.client import Client
    from keyfpn.edge.pipeline import Edge
    from keyfpn.protocol.detections import Detections
    from keyfpn.protocol.errors import Error
    from keyfpn.protocol.packet import Packet
    from keyfpn.server.pipeline import Server

    __version__: str

__all__ = ["Client", "Detections", "Edge", "Error", "Model", "Packet", "Server", "open_model"]

_HOMES = {
    "Client": "keyfpn.edge.client",
    "Detections": "keyfpn.protocol.detections",
    "Edge": "keyfpn.edge.pipeline",
    "Error": "keyfpn.protocol.errors",
    "Model": "keyfpn.detector.model",
    "Packet": "keyfpn.protocol.packet",
    "Server": "keyfpn.server.pipeline",
    "open_model": "keyfpn.detector.model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("keyfpn")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
