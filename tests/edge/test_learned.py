"""The learned codec through the real commands: encode, inspect, serve and send, decode."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol.packet import Packet


def call(binaries: Path, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binaries / command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def packets(binaries: Path, pictures: Path, learned_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packets")
    done = call(binaries, "keyfpn-edge", "encode", pictures, "--out", folder, "--detector", learned_model.folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_is_the_default_of_a_model_that_has_it(packets: Path, learned_model: Model) -> None:
    for path in packets.glob("*.kfpn"):
        packet = Packet.parse(path.read_bytes())
        assert (packet.codec, packet.quality) == ("learned", 3)
        assert [chunk.level for chunk in packet.chunks] == ["y0", "y1", "y2"]
        assert packet.fingerprint == learned_model.fingerprint


def test_inspect_shows_latents_and_what_is_rebuilt_from_them(
    packets: Path, binaries: Path, learned_model: Model
) -> None:
    packet = packets / "7.kfpn"
    done = call(binaries, "keyfpn-edge", "inspect", packet, "--detector", learned_model.folder, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    levels = {level["level"]: level for level in found["levels"]}
    assert list(levels) == ["y0", "y1", "y2", "p2", "p3", "p4", "p5", "p6"]
    assert found["bytes"] == packet.stat().st_size
    assert levels["p6"]["source"] == "max-pool of the rebuilt p5"


def test_the_server_decodes_what_the_edge_wrote(packets: Path, binaries: Path, learned_model: Model) -> None:
    done = call(
        binaries,
        "keyfpn-server",
        "decode",
        *sorted(packets.glob("*.kfpn")),
        "--detector",
        learned_model.folder,
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_a_server_of_a_model_without_it_names_what_it_has(packets: Path, binaries: Path, unfitted_model: Model) -> None:
    done = call(binaries, "keyfpn-server", "decode", packets / "7.kfpn", "--detector", unfitted_model.folder)
    assert done.returncode != 0
    assert "fingerprint" in done.stderr
