"""The server process: a port, a life from "listening" to a signal, and an orderly end."""

from __future__ import annotations

import asyncio
import signal

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from keyfpn.protocol import keyfpn_pb2
from keyfpn.protocol.keyfpn_pb2_grpc import add_DetectionServicer_to_server
from keyfpn.protocol.messages import FRAME_OVERHEAD

from .engine.base import Engine
from .errors import ListenError
from .observe.base import Observer
from .service import DetectionService

MAX_STREAMS = 64
"""Streams at a time, each with a backlog of its own."""
GRACE_SECONDS = 30.0
"""How long frames in flight may take once the server has been told to stop."""
_SERVICE = keyfpn_pb2.DESCRIPTOR.services_by_name["Detection"].full_name


async def serve(engine: Engine, host: str, port: int, *, observer: Observer, workers: int) -> None:
    """Serve until SIGTERM or SIGINT, then answer the frames that were received, and return.

    Answers gRPC's health protocol too (``grpc.health.v1``), for service managers and load balancers: serving from the
    first connection on, not serving from the signal on.

    Args:
        engine: what answers frames; closed at the end.
        host: name or address to listen on.
        port: 0 takes a free one.
        observer: told of the start and of every stream.
        workers: packets that are unpacked at the same time.

    Raises:
        ListenError: the address cannot be listened on.
    """
    service = DetectionService(engine, observer=observer, workers=workers)
    largest = engine.held.limits.max_packet_bytes + FRAME_OVERHEAD
    server = grpc.aio.server(options=_options(largest), maximum_concurrent_rpcs=MAX_STREAMS)
    add_DetectionServicer_to_server(service, server)
    condition = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(condition, server)
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise ListenError(f"{host}:{port}", "an address to listen on", error) from error
    await server.start()
    for name in ("", _SERVICE):
        await condition.set(name, HealthCheckResponse.SERVING)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    observer.listening(host, bound, engine.held)
    await stop.wait()
    await condition.enter_graceful_shutdown()
    service.drain()
    await server.stop(GRACE_SECONDS)
    engine.close()


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),  # gRPC's default is 4 MB
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),  # or two servers could share a port and each get some of the edges
        # Edges that vanish without a word, as on a lost radio link, give their place back within a minute.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # And edges may ask in their turn; gRPC would take more than one such ping in five minutes for an attack.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
