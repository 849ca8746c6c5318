"""The life of a server: what a service manager or load balancer can ask it."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from keyfpn.detector.model import Model
from keyfpn.server import listen
from keyfpn.server.held import HeldModels
from keyfpn.server.observe.base import Observer
from tests.server.services import FakeEngine


class Asking(Observer):
    """Asks for the server's health as soon as it listens, then sends it the signal to stop, and asks on."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int]] = {"": [], "keyfpn.v1.Detection": []}
        self.task: asyncio.Task[None] | None = None

    def listening(self, host: str, port: int, held: HeldModels) -> None:
        self.task = asyncio.create_task(self._ask(f"{host}:{port}"))

    async def _ask(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = HealthStub(channel)
            watches = {name: stub.Watch(HealthCheckRequest(service=name)) for name in self.answers}
            for name, watch in watches.items():
                self.answers[name].append((await watch.read()).status)
            os.kill(os.getpid(), signal.SIGTERM)
            for name, watch in watches.items():
                self.answers[name].append((await watch.read()).status)


def test_it_is_healthy_from_the_first_connection_until_it_is_told_to_stop(detector_model: Model) -> None:
    engine, asking = FakeEngine(HeldModels([detector_model])), Asking()
    asyncio.run(listen.serve(engine, "127.0.0.1", 0, observer=asking, workers=1))
    assert asking.task is not None
    assert asking.task.exception() is None
    healthy = [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
    assert asking.answers == {"": healthy, "keyfpn.v1.Detection": healthy}
    assert engine.closed
