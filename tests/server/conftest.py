"""Makers of packets, models that are held, and the command `keyfpn-server`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.protocol.chunk import Uniform, encode_level
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import Ranges
from keyfpn.reconstruct.registry import open_encoder
from keyfpn.server.cli import main
from keyfpn.server.held import HeldModels
from keyfpn.server.pipeline import Server
from tests.commands import Outcome, runner


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tests share the cores with the servers that they talk to."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `keyfpn-server` in this process."""
    return runner(main, capsys)


@pytest.fixture(scope="session")
def run_command(binaries: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `keyfpn-server` in a process of its own, to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binaries / "keyfpn-server", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture(scope="session")
def pipeline(detector_model: Model) -> Server:
    """The bundled model, ready to detect in this process."""
    return Server(detector_model)


@pytest.fixture(scope="session")
def held(detector_model: Model) -> HeldModels:
    """The bundled model without any network."""
    return HeldModels([detector_model])


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
        encoder = open_encoder(settings, detector_model)
        features = EdgeHalf(network, encoder.reads)(picture.transpose(2, 0, 1).copy())
        height, width, _ = picture.shape
        packet = encoder.packet(
            encoder.codec.analysis(encoder).arrays(features),
            image_size=(height, width),
            network_size=(height, width),
            stream_id=1,
            frame_id=1,
        )
        return replace(packet, **fields)

    return make


@pytest.fixture(scope="session")
def make_constant(detector_model: Model) -> Callable[..., Packet]:
    """Makes packets of next to no bytes, p3 and p5 all zero; no network is needed to make them."""

    def make(size: tuple[int, int] = (32, 64), **fields: object) -> Packet:
        geometry = detector_model.geometry(size)
        channels = geometry.channels
        ranges = Ranges(np.zeros(channels, np.float32), np.full(channels, 0.01, np.float32), 2)
        chunks = [
            encode_level(level, np.zeros(geometry.level_shape(level), np.float32), Uniform(2, ranges), "ans")
            for level in ("p3", "p5")
        ]
        defaults: dict[str, object] = {
            "codec": "interpolate",
            "quality": 0,
            "fingerprint": detector_model.fingerprint,
            "stream_id": 1,
            "frame_id": 1,
            "capture_time": 0,
            "image_size": size,
            "network_size": size,
            "chunks": tuple(chunks),
        }
        return Packet(**{**defaults, **fields})

    return make
