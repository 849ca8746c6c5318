"""Fixtures that several rooms share: the bundled detector, pictures, the data beside the project, a real server."""

from __future__ import annotations

import json
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

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.publish import publish_detector
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionStub
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.shape import Shape
from keyfpn.reconstruct.network.network import NetworkShape, ReconstructionNetwork
from keyfpn.training.codecs.learned.publish import publish_codec
from keyfpn.training.codecs.learned.tables import fit_entropy_models
from keyfpn.training.codecs.network.publish import publish_network

COCO_SUBSET = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "coco_subset"


@pytest.fixture(scope="session")
def detector_model() -> Model:
    return open_model()


@pytest.fixture(scope="session")
def learned_model(detector_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The bundled detector with a reconstruction network and a learned codec: few channels, random weights."""
    torch.manual_seed(0)
    shape = Shape(128, 24, analysis=(8, 8, 8), synthesis=(8, 8, 8, 8), groups=((2, 3), (2, 4), (1, 2)), qualities=3)
    codec = CodecNetwork(shape).eval()
    symbols = np.random.default_rng(0).integers
    sizes = ((5, 3, 4), (6, 6, 8), (3, 12, 16))
    frames = [
        (
            [symbols(-bound, bound + 1, size).astype(np.int16) for bound, size in zip((4, 6, 2), sizes, strict=True)],
            quality,
        )
        for quality in (1, 2, 3)
    ]
    with torch.no_grad():  # contexts that matter
        for prior in codec.priors:
            for parameter in prior.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("models") / "small_codec"
    publish_network(detector_model, ReconstructionNetwork(NetworkShape(128, hidden=(8, 8, 8, 8))), folder)
    publish_codec(open_model(str(folder)), codec, fit_entropy_models(codec, frames), "random weights", folder)
    return open_model(str(folder))


@pytest.fixture(scope="session")
def unfitted_model(detector_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The bundled detector without the files of any codec."""
    folder = tmp_path_factory.mktemp("models") / "unfitted"
    publish_detector(detector_model, folder)
    Manifest.of_folder(folder).write(folder)
    return open_model(str(folder))


@pytest.fixture(scope="session")
def network(detector_model: Model) -> GeneralizedRCNN:
    return build_network(detector_model)


@pytest.fixture(scope="session")
def preprocessor(detector_model: Model) -> Preprocessor:
    return detector_model.preprocessor


@pytest.fixture(scope="session")
def coco_subset() -> Path:
    """The real pictures beside the project."""
    if not COCO_SUBSET.is_dir():
        pytest.skip("needs ../shared/data/coco_subset, the COCO pictures beside the project")
    return COCO_SUBSET


@pytest.fixture(scope="session")
def val_pictures(coco_subset: Path) -> list[np.ndarray]:
    """Four val pictures, RGB."""
    return [read_picture(path) for path in sorted((coco_subset / "val").glob("*.jpg"))[:4]]


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A photograph with people and things in it that ships with scikit-image: (H, W, 3) uint8 RGB."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's pictures")
    return np.asarray(data.astronaut())


@pytest.fixture(scope="session")
def noise_input() -> np.ndarray:
    """A small network input whose sides are no multiples of 32: (3, 90, 120)."""
    noise = torch.randint(0, 256, (3, 90, 120), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return noise.numpy()


@pytest.fixture(scope="session")
def binaries() -> Path:
    """Where the console scripts are installed."""
    return Path(sys.executable).parent


@dataclass(frozen=True)
class ServerProcess:
    """A `keyfpn-server serve` that is listening."""

    process: subprocess.Popen[str]
    address: str

    @contextmanager
    def connect(self) -> Iterator[DetectionStub]:
        """A connection of its own, with no limit at the client's end."""
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(self.address, options=unlimited) as channel:
            yield DetectionStub(channel)

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """SIGTERM; returns the exit code and what was printed since it began to listen."""
        self.process.send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=60)
        return self.process.returncode, [json.loads(line) for line in printed.splitlines()]


@pytest.fixture(scope="session")
def start_server(binaries: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers on free ports, 4 to 6 s each; what is left of them is killed at the end."""
    with ExitStack() as stack:

        def start(*options: str) -> ServerProcess:
            command = [binaries / "keyfpn-server", "serve", "--port", "0", "--json", "--threads", "2", *options]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout is not None
            event = json.loads(process.stdout.readline())
            assert event["event"] == "listening"
            return ServerProcess(process, f"{event['host']}:{event['port']}")

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """The server that all tests share which only ask it; it takes raw packets of up to 704 x 704."""
    return start_server("--max-side", "704")
