from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import typer

from keyfpn.benchmarks import options
from keyfpn.benchmarks.engine.errors import BenchmarkError, WorkerError
from keyfpn.benchmarks.engine.pool import Pool


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


def test_a_session_has_so_many_workers_for_the_length_of_the_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str | int] = []

    class Told(Pool):
        def __init__(self, workers: int) -> None:
            opened.append(workers)
            super().__init__(workers)

        def close(self) -> None:
            opened.append("closed")

    monkeypatch.setattr(options, "Pool", Told)
    arguments = (tmp_path, tmp_path / "a.json", "model", None, 5, "fp32")
    for workers, processes in ((3, 3), (None, os.cpu_count())):
        with options.open_session(*arguments, workers, tmp_path) as session:
            assert (session.images, session.limit, session.precision) == (tmp_path, 5, "fp32")
            assert opened == [processes]
        assert opened == [processes, "closed"]
        opened.clear()


def test_errors_and_interrupts_have_their_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (tmp_path, tmp_path / "a.json", "model", None, None, "fp32", 1, tmp_path)
    errors = (
        (WorkerError("7.jpg", "a result", "none"), 1, "error: 7.jpg: expected a result, found none"),
        (BenchmarkError("--cr", "five", "six"), 2, "error: --cr: expected five, found six"),
        (KeyboardInterrupt(), 130, "interrupted: what was measured is kept"),
    )
    for error, code, told in errors:
        with pytest.raises(typer.Exit) as ended, options.open_session(*arguments):
            raise error
        assert ended.value.exit_code == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(told)


def test_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    options.write_files(out, {"a.json": b"{}", "b.md": b"# b"})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a.json": b"{}", "b.md": b"# b"}
