"""The rooms of docs/architecture.md: who may import whom, and which rooms do without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BELOW = {"protocol", "detector", "reconstruct"}
MAY_IMPORT = {
    "protocol": set(),
    "detector": {"protocol"},
    "reconstruct": {"protocol", "detector"},
    "console": {"protocol"},
    "training": BELOW | {"console"},
    "edge": BELOW | {"console"},
    "server": BELOW | {"console"},
    "benchmarks": BELOW | {"console", "edge", "server"},
}
HEAVY = {"torch", "torchvision", "detectron2", "fvcore", "av", "pycocotools"}
MAY_BE_HEAVY = {
    "protocol": (),
    "console": (),
    "detector": ("torch/", "coco.py"),
    "edge": ("networks/torch.py", "sources.py"),
    "server": ("engine/inference.py", "run.py"),
}
"""Of these rooms, the files that may name a heavy package, anywhere in them."""
LIGHT = (
    "keyfpn",
    "keyfpn.edge.cli",
    "keyfpn.edge.client",
    "keyfpn.edge.pipeline",
    "keyfpn.edge.run",
    "keyfpn.server.cli",
    "keyfpn.server.pipeline",
    "keyfpn.server.service",
    "keyfpn.detector.model",
    "keyfpn.reconstruct.registry",
)


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """The absolute name of every module that a file imports, and where."""
    package = ["keyfpn", *path.relative_to(ROOT).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: -node.level] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])]), node


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "keyfpn" and len(parts) > 1 else None


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    allowed = MAY_IMPORT[room] | {room}
    wrong = {
        f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        for path in files
        for name, node in imports(path)
        if room_of(name) not in allowed | {None}
    }
    assert not wrong


@pytest.mark.parametrize("room", MAY_BE_HEAVY)
def test_what_is_heavy_is_named_where_it_belongs(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        if not path.relative_to(ROOT / room).as_posix().startswith(MAY_BE_HEAVY[room] or ("-",))
        for name, node in imports(path)
        if name.partition(".")[0] in HEAVY
    }
    assert not wrong


@pytest.mark.parametrize("module", LIGHT)
def test_who_does_without_torch_does_not_load_it(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & set(run.stdout.split())


def test_encoders_and_decoders_do_without_torch() -> None:
    code = (
        "import sys, keyfpn\n"
        "from keyfpn.reconstruct.registry import decodable_codecs\n"
        "for codec in decodable_codecs(keyfpn.open_model()):\n"
        "    codec.encoder(codec.sweep()[0]); codec.decoder(); codec.provenance(('p3', 'p5'))\n"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & set(run.stdout.split())


def test_nothing_is_imported_by_an_old_name() -> None:
    old = {*MAY_IMPORT, "models"}
    wrong = {
        f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        for folder in (*MAY_IMPORT, "tests", "examples")
        for path in (ROOT / folder).rglob("*.py")
        for name, node in imports(path)
        if not name.startswith("keyfpn") and name.partition(".")[0] in old
    }
    assert not wrong
