"""The engine knows no study, and no study knows how models are trained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import keyfpn.benchmarks

ROOM = "keyfpn.benchmarks"
FOLDER = Path(keyfpn.benchmarks.__file__).resolve().parent
STUDIES = ("rate", "levels", "latency")


def imported(path: Path) -> Iterator[str]:
    """Absolute names of all that a file imports, wherever in it."""
    package = [ROOM, *path.relative_to(FOLDER).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def importers(folder: Path, forbidden: str) -> set[str]:
    return {
        f"{path.relative_to(FOLDER)} imports {name}"
        for path in folder.rglob("*.py")
        for name in imported(path)
        if f"{name}.".startswith(f"{forbidden}.")
    }


def test_the_engine_imports_no_study() -> None:
    assert importers(FOLDER / "engine", f"{ROOM}.engine")  # this finds relative imports
    for study in STUDIES:
        assert (FOLDER / study).is_dir()
        assert not importers(FOLDER / "engine", f"{ROOM}.{study}")


def test_studies_are_all_that_is_beside_the_engine() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and (path / "__init__.py").is_file()}
    assert folders == {"engine", *STUDIES}


def test_benchmarks_do_not_train() -> None:
    assert not importers(FOLDER, "keyfpn.training")
