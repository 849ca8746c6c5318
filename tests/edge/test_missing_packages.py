"""What an edge does where packages of extras are not installed: each time in a process that refuses to import them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet

REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
"""
TORCH = ("torch", "torchvision", "detectron2", "fvcore", "pycocotools", "av")
COMMAND = "from keyfpn.edge.cli import main; main(sys.argv[1:])"


def run_without(packages: tuple[str, ...], code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REFUSE.format(packages=packages) + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def packets(make_packet: Callable[..., Packet], unfitted_model: Model, tmp_path: Path) -> Path:
    """A folder of three packets."""
    folder = tmp_path / "packets"
    folder.mkdir()
    for number in (1, 2, 3):
        packet = make_packet(frame_id=number, model=unfitted_model)
        (folder / f"{number}.kfpn").write_bytes(packet.serialize())
    return folder


def test_without_av_pictures_are_encoded_and_a_video_says_what_to_install(pictures: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 64, 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    inputs = [pictures / "7.jpg", tmp_path / "clip.mp4"]
    options = ["--out", tmp_path / "packets", "--codec", "raw:levels=p5"]
    done = run_without(("av",), COMMAND, "encode", *inputs, *options)
    install = "expected it to be installed, found it is not. Install it with: pip install 'keyfpn[video]'"
    assert (done.returncode, done.stderr) == (2, f"error: package av: {install}\n")
    assert [path.name for path in (tmp_path / "packets").iterdir()] == ["7.kfpn"]
    assert Packet.parse((tmp_path / "packets" / "7.kfpn").read_bytes()).codec == "raw"


def test_without_torch_encode_says_what_to_install(pictures: Path, tmp_path: Path) -> None:
    done = run_without(TORCH, COMMAND, "encode", pictures, "--out", tmp_path / "packets")
    install = "expected it to be installed, found it is not. Install it with: pip install 'keyfpn[torch]'"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: package torch: {install}\n"
    assert not (tmp_path / "packets").exists()


@pytest.fixture(scope="module")
def packet_made_without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packet of the bundled model's learned codec: another network's arrays, here zeros, coded without torch."""
    code = """
import numpy as np, keyfpn
from keyfpn.reconstruct.learned.shape import LATENT_STRIDES

def network(encoder):
    shape = encoder.codec.shape
    def compute(picture):
        height, width = (-(-side // 32) * 32 for side in picture.shape[1:])
        sizes = [(c, height // s, width // s) for c, s in zip(shape.latents, LATENT_STRIDES)]
        return {name: np.zeros(size, np.float32) for name, size in zip(encoder.inputs, sizes)}
    return compute

edge = keyfpn.Edge(keyfpn.open_model(), network=network)
packet = edge.encode(np.zeros((96, 128, 3), np.uint8))
assert packet.codec == "learned"
open(sys.argv[1], "wb").write(packet.serialize())
"""
    path = tmp_path_factory.mktemp("without_torch") / "packet.kfpn"
    done = run_without(TORCH, code, path)
    assert (done.returncode, done.stderr) == (0, "")
    return path


def test_without_torch_inspect_works(packet_made_without_torch: Path, detector_model: Model) -> None:
    done = run_without(TORCH, COMMAND, "inspect", packet_made_without_torch)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"model {detector_model.name}" in done.stdout
    assert "max-pool of the rebuilt p5" in done.stdout


CLIENT = """
from pathlib import Path
import keyfpn
model = keyfpn.open_model(sys.argv[2])
packets = [keyfpn.Packet.parse(path.read_bytes()) for path in sorted(Path(sys.argv[3]).iterdir())]
with keyfpn.Client(sys.argv[1], model, "interpolate") as client:
    for answer in client.detect(packets):
        print(answer.sent.frame_id, answer.detections.names)
"""


def one_dog(frames):
    from keyfpn.protocol import keyfpn_pb2 as wire

    for frame in frames:
        packet = Packet.parse(frame.packet)
        found = wire.Detections(boxes=[1, 2, 3, 4], scores=[0.5], classes=[16])
        yield wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, detections=found)


def test_without_torch_a_client_works(fake_server, unfitted_model: Model, packets: Path) -> None:
    server = fake_server(one_dog, unfitted_model)
    done = run_without(TORCH, CLIENT, server.address, unfitted_model.folder, packets)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["1 ['dog']", "2 ['dog']", "3 ['dog']"]
    assert [frame.packet for frame in server.received] == [path.read_bytes() for path in sorted(packets.iterdir())]


def test_without_torch_a_client_works_with_the_bundled_model(
    fake_server, detector_model: Model, packet_made_without_torch: Path
) -> None:
    code = CLIENT.replace('"interpolate"', '"learned"')
    folder = packet_made_without_torch.parent
    done = run_without(TORCH, code, fake_server(one_dog).address, detector_model.folder, folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["1 ['dog']"]
