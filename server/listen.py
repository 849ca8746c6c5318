"""The server process: a port, a life from "listening" to a signal, and an orderly end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import grpc

from keyfpn.protocol.keyfpn_pb2_grpc import add_DetectionServicer_to_server

from .errors import ListenError
from .pipeline import DetectionPipeline
from .service import DetectionService, StreamSummary

MAX_STREAMS = 64
"""Streams at a time, each with a backlog of its own."""
GRACE_SECONDS = 30.0
"""How long frames in flight may take once the server has been told to stop."""

_ENVELOPE_BYTES = 64  # what protobuf puts around a packet, at most


async def serve(
    pipeline: DetectionPipeline,
    host: str,
    port: int,
    *,
    workers: int,
    on_listening: Callable[[int], None],
    on_stream_end: Callable[[StreamSummary], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then answer the frames that were received, and return.

    Args:
        pipeline: what answers frames.
        host: name or address to listen on.
        port: 0 takes a free one.
        workers: frames in work at the same time.
        on_listening: told the port as soon as edges can connect.
        on_stream_end: told of every stream that has ended.

    Raises:
        ListenError: the address cannot be listened on.
    """
    service = DetectionService(pipeline, workers=workers, on_stream_end=on_stream_end)
    server = grpc.aio.server(
        options=_options(pipeline.limits.max_packet_bytes + _ENVELOPE_BYTES), maximum_concurrent_rpcs=MAX_STREAMS
    )
    add_DetectionServicer_to_server(service, server)
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error}") from error
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    on_listening(bound)
    await stop.wait()
    service.drain()
    await server.stop(GRACE_SECONDS)


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
