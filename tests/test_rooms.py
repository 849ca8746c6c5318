"""The rooms of docs/architecture.md: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "protocol": set(),
    "detector": {"protocol"},
    "reconstruct": {"protocol", "detector"},
    "training": {"protocol", "detector", "reconstruct"},
    "edge": {"protocol", "detector", "reconstruct"},
    "server": {"protocol", "detector", "reconstruct"},
    "benchmarks": {"protocol", "detector", "reconstruct", "training", "edge", "server"},
}


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.removeprefix("keyfpn.").partition(".")[0] for name in names if name.startswith("keyfpn.")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_rooms(path) - MAY_IMPORT[room] - {room}
    }
    assert not wrong
