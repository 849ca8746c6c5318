from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from keyfpn.benchmarks import options


@pytest.mark.parametrize(
    ("xdg", "expected"), [("/somewhere", "/somewhere/keyfpn/bench"), ("", "/home/one/.cache/keyfpn/bench")]
)
def test_the_cache_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, xdg: str, expected: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", "/home/one")
    try:
        assert Path(expected) == importlib.reload(options).CACHE
    finally:
        monkeypatch.undo()
        importlib.reload(options)


def test_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    options.write_files(out, {"a.json": b"{}", "b.md": b"# b"})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a.json": b"{}", "b.md": b"# b"}
