"""A packet maker, and the real server process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionStub
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import build_codec
from keyfpn.server.pipeline import DetectionPipeline

COMMAND = Path(sys.executable).parent / "keyfpn-server"


@dataclass(frozen=True)
class Server:
    """A `keyfpn-server serve` that is listening."""

    process: subprocess.Popen[str]
    port: int

    @contextmanager
    def connect(self) -> Iterator[DetectionStub]:
        """A connection of its own, with no limit at the client's end."""
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=unlimited) as channel:
            yield DetectionStub(channel)

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """SIGTERM; returns the exit code and what was printed since it began to listen."""
        self.process.send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tests share the cores with the servers that they talk to."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `keyfpn-server` to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts servers on free ports; what is left of them is killed at the end."""
    with ExitStack() as stack:

        def start(*options: str) -> Server:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", "0", "--json", "--threads", "2", *options],
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            line = json.loads(process.stdout.readline())
            assert line["event"] == "listening"
            return Server(process, line["port"])

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    """A server that several tests share; it takes raw packets of up to 704 x 704."""
    return start_server("--max-side", "704")


@pytest.fixture(scope="session")
def pipeline(detector_model: Model) -> DetectionPipeline:
    return DetectionPipeline([detector_model])


@pytest.fixture(scope="session")
def crops(photo: np.ndarray) -> list[np.ndarray]:
    """Different parts of one photograph, each (128, 160, 3) uint8 RGB."""
    return [photo[y : y + 128, x : x + 160] for y in range(0, 384, 48) for x in range(0, 352, 88)]


@pytest.fixture(scope="session")
def make_packet(detector_model: Model, network: GeneralizedRCNN) -> Callable[..., Packet]:
    """Encodes a picture as an edge does, at its own size: the tests' pictures are small, and stay so."""

    def make(
        picture: np.ndarray, settings: str = "interpolate:precision=int8,ranges=picture", **fields: object
    ) -> Packet:
        codec = build_codec(settings, detector_model)
        features = EdgeHalf(network, codec.key_levels)(torch.from_numpy(picture.transpose(2, 0, 1).copy()))
        defaults: dict[str, object] = {
            "codec": codec.name,
            "quality": codec.quality,
            "fingerprint": detector_model.fingerprint,
            "stream_id": 1,
            "frame_id": 1,
            "capture_time": 0,
            "image_size": picture.shape[:2],
            "network_size": picture.shape[:2],
            "chunks": codec.encode(features),
        }
        return Packet(**{**defaults, **fields})

    return make
