"""Of ``keyfpn.console``; every benchmark shows its progress so."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from keyfpn.console import progress as progress_module
from keyfpn.console.progress import progress


def test_progress_writes_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0, 170.0, 180.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock, 180.0))
    text = io.StringIO()
    with progress(Console(file=text, width=100), "measuring", 4) as advance:
        advance(1)  # after 30 s: too soon for a line
        advance(1)
        advance(2)
    assert text.getvalue().splitlines() == [
        "measuring: 2 of 4 after 70 s, about 70 s left",
        "measuring: 4 of 4 after 80 s, about 0 s left",
    ]
