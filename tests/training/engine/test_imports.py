"""The engine knows nothing of what is trained."""

from __future__ import annotations

import ast
from pathlib import Path

import keyfpn.training.engine

ENGINE = Path(keyfpn.training.engine.__file__).parent


def imported(path: Path) -> set[str]:
    """The modules of keyfpn that a file imports, by their whole names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = ["keyfpn", "training", "engine"][: 4 - node.level] if node.level else []
            names.add(".".join([*parents, *([node.module] if node.module else [])]))
    return {name for name in names if name.startswith("keyfpn")}


def test_the_engine_imports_itself_and_the_protocol_alone() -> None:
    files = list(ENGINE.glob("*.py"))
    assert len(files) > 5
    wrong = {
        f"{path.name} imports {name}"
        for path in files
        for name in imported(path)
        if not name.startswith(("keyfpn.training.engine.", "keyfpn.protocol."))
    }
    assert not wrong
