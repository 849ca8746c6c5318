from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from keyfpn.console import progress as module
from keyfpn.console.progress import errors, output, progress, track


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal, _environ={"TERM": "xterm"})


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_line_a_minute_where_there_is_no_terminal(clock: Clock) -> None:
    to = console()
    with progress(to, "measuring", 10) as advance:
        clock.now += 59
        advance(1)
        assert printed(to) == []
        clock.now += 1
        advance(1)
        assert printed(to) == ["measuring: 2 of 10 after 60 s, about 240 s left"]
        clock.now += 59
        advance(4)
        assert len(printed(to)) == 1
        clock.now += 61
        advance(2)
        assert printed(to)[1:] == ["measuring: 8 of 10 after 180 s, about 45 s left"]
        advance(2)
    assert printed(to)[2:] == ["measuring: 10 of 10 after 180 s, about 0 s left"]  # the last one always


def test_short_work_has_one_line_at_its_end(clock: Clock) -> None:
    to = console()
    with progress(to, "fitting", 2) as advance:
        advance(1)
        clock.now += 3
        advance(1)
    assert printed(to) == ["fitting: 2 of 2 after 3 s, about 0 s left"]


def test_nothing_done_yet_is_no_reason_to_fail(clock: Clock) -> None:
    to = console()
    with progress(to, "measuring", 3) as advance:
        clock.now += 61
        advance(0)
        clock.now += 1
        advance(3)
    assert printed(to) == ["measuring: 3 of 3 after 62 s, about 0 s left"]
    with progress(to, "measuring", 0) as advance:
        advance(0)


def test_a_terminal_shows_a_bar_and_no_lines(clock: Clock) -> None:
    to = console(terminal=True)
    with progress(to, "measuring", 2) as advance:
        clock.now += 100
        advance(1)
        advance(1)
    text = "\n".join(printed(to))
    assert "measuring" in text
    assert "2/2" in text
    assert " after " not in text


@pytest.mark.parametrize("lines", [True, False])
@pytest.mark.parametrize("total", [3, None])
def test_all_items_come_through_and_a_pipe_shows_nothing(
    capsys: pytest.CaptureFixture[str], lines: bool, total: int | None
) -> None:
    assert list(track(iter("abc"), total, "pictures", lines=lines)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_items_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def source() -> object:
        for number in range(3):
            taken.append(number)
            yield number

    items = track(source(), None, "frames", lines=False)
    assert next(items) == 0
    assert taken == [0]
    items.close()


@pytest.mark.parametrize(
    ("lines", "out", "err", "shown"),
    [(False, True, True, True), (True, True, True, False), (True, False, True, True), (False, False, False, False)],
)
def test_a_bar_is_shown_where_no_lines_are(
    monkeypatch: pytest.MonkeyPatch, lines: bool, out: bool, err: bool, shown: bool
) -> None:
    to = console(terminal=True)
    streams = {name: SimpleNamespace(isatty=lambda tty=tty: tty) for name, tty in (("stdout", out), ("stderr", err))}
    monkeypatch.setattr(module, "sys", SimpleNamespace(**streams))
    monkeypatch.setattr(module, "errors", lambda: to)
    assert list(track(range(3), 3, "pictures", lines=lines)) == [0, 1, 2]
    assert bool(re.search("pictures", "".join(printed(to)))) == shown


def test_a_pipe_is_wide_enough_for_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert output().width == 160
    output().print("results")
    errors().print("progress")
    assert capsys.readouterr() == ("results\n", "progress\n")
