"""A codec from a package of its own: found by its entry point, and used as keyfpn's own ones are.

The package is `example_codec/`; beside it stand packages whose codecs cannot be used. Other processes see them all, as
if they were installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).with_name("example_codec")
OWN = ["interpolate", "learned", "network", "raw"]
BROKEN = {
    "no_such_module": ("ghost", "codec_of_nobody:Codec", "ModuleNotFoundError"),
    "fails": ("failing", "codecs_of_others:nothing.here", "AttributeError"),
    "says_much": ("chatty", "chatty:Codec", "RuntimeError: first line second line"),
    "no_codec": ("thing", "codecs_of_others:THING", "ConfigurationError"),
    "no_class_of_it": ("function", "codecs_of_others:function", "ConfigurationError"),
    "nameless": ("nameless", "codecs_of_others:Nameless", "AttributeError"),
    "other_name": ("alias", "codecs_of_others:Thirds", "ConfigurationError"),
    "own_id": ("own_id", "codecs_of_others:OwnId", "128 to 255, the private ones, found 3"),
    "taken_id": ("thirds", "codecs_of_others:Thirds", "a name and a wire id of its own, found those of 'halves'"),
    "taken_name": ("raw", "codecs_of_others:Raw", "a name and a wire id of its own, found those of 'raw'"),
}
"""Package to its codec, where that is, and a part of what is logged."""
_CODECS_OF_OTHERS = """
from keyfpn_halves import HalvesCodec

THING = {"name": "thing", "wire_id": 130}


def function(model):
    return HalvesCodec(model)


class Nameless(HalvesCodec.__base__):
    wire_id = 131


class Thirds(HalvesCodec):
    name = "thirds"


class OwnId(HalvesCodec):
    name, wire_id = "own_id", 3


class Raw(HalvesCodec):
    name, wire_id = "raw", 201
"""
_PROGRAM = """
import json, logging, sys
import numpy as np

lines = []
class Keep(logging.Handler):
    def emit(self, record):
        lines.append((record.name, record.levelname, record.getMessage()))
logging.getLogger().addHandler(Keep())

import keyfpn
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.registry import codec_of, decodable_codecs, identity, open_codec, registered_codecs

registered = list(registered_codecs())
light = "torch" not in sys.modules
model = keyfpn.open_model()
picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
packet = keyfpn.Edge(model, codec="halves").encode(picture)
data = packet.serialize()
parsed = keyfpn.Packet.parse(data)
server = keyfpn.Server(model)
found = server.detect(data)
again = server.detect(keyfpn.Edge(model, codec="raw:levels=p3,precision=fp16,coder=zstd").encode(picture))
codec = codec_of(parsed, model)
try:
    open_codec("halves", model).encoder(keyfpn.reconstruct.settings.CodecSettings.parse("halves:quality=1"))
except ConfigurationError as error:
    refused = str(error)
registered_codecs()
print(json.dumps({
    "registered": registered, "light": light, "codec": parsed.codec, "wire_id": data[5], "levels": parsed.key_levels,
    "same": parsed == packet, "boxes": list(found.boxes.shape), "scores": found.scores.tolist(),
    "labels": found.label_map == model.labels, "raw_boxes": list(again.boxes.shape),
    "decodable": [codec.name for codec in decodable_codecs(model)], "codec_of": codec.name,
    "sweep": [str(settings) for settings in codec.sweep()], "provenance": codec.provenance(parsed.key_levels),
    "identities": len({identity(codec) for codec in decodable_codecs(model)}), "refused": refused, "lines": lines,
}))
"""


def install(package: str, codec: str, place: str, folder: Path) -> None:
    """What an installer leaves behind of a package: its metadata."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[keyfpn.codecs]\n{codec} = {place}\n")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What another process sees of all these packages."""
    folder = tmp_path_factory.mktemp("site") / "packages"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    # As `pip install` begins: the metadata out of pyproject.toml, without a network.
    make = "from setuptools.build_meta import prepare_metadata_for_build_wheel as make; make('.')"
    subprocess.run([sys.executable, "-c", make], cwd=folder, check=True, capture_output=True, timeout=100)
    (folder / "codecs_of_others.py").write_text(_CODECS_OF_OTHERS)
    (folder / "chatty.py").write_text("raise RuntimeError('first line\\nsecond line')")
    for package, (codec, place, _) in BROKEN.items():
        install(package, codec, place, folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    run = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_it_is_registered_beside_keyfpns_own_and_no_broken_one_is(seen: dict[str, Any]) -> None:
    assert seen["registered"] == sorted([*OWN, "halves"])
    assert seen["light"]  # finding codecs loads no torch
    assert seen["decodable"] == seen["registered"]


def test_its_packets_carry_its_wire_id(seen: dict[str, Any]) -> None:
    assert seen["wire_id"] == 200
    assert seen["codec"] == "private-200"
    assert seen["levels"] == ["p3"]
    assert seen["same"]


def test_the_server_decodes_its_packets(seen: dict[str, Any]) -> None:
    assert seen["codec_of"] == "halves"
    assert seen["boxes"] == [len(seen["scores"]), 4]
    assert seen["labels"]
    assert seen["provenance"] == {
        "p2": "bilinear from p3",
        "p3": "sent",
        "p4": "bilinear from p3",
        "p5": "bilinear from p3",
        "p6": "max-pool of the rebuilt p5",
    }


def test_benchmarks_are_offered_its_settings(seen: dict[str, Any]) -> None:
    assert seen["sweep"] == ["halves"]
    assert seen["identities"] == 4  # raw and interpolate depend on the same files
    assert seen["refused"] == "codec halves, options: expected none, found quality"


def test_keyfpns_own_codecs_still_work(seen: dict[str, Any]) -> None:
    assert seen["raw_boxes"][1] == 4


@pytest.mark.parametrize("package", BROKEN)
def test_a_codec_that_cannot_be_used_is_left_out_with_one_line(seen: dict[str, Any], package: str) -> None:
    codec, _, reason = BROKEN[package]
    start = f"codec {codec!r} of package {package.replace('_', '-')} is left out: "
    (line,) = [line for line in seen["lines"] if line[2].startswith(start)]
    assert line[:2] == ["keyfpn.reconstruct.registry", "WARNING"]
    assert reason in line[2]
    assert "\n" not in line[2]


def test_nothing_else_is_logged(seen: dict[str, Any]) -> None:
    assert len(seen["lines"]) == len(BROKEN)
