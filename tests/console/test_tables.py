from __future__ import annotations

import io

import pytest
from rich.console import Console

from keyfpn.console.tables import Table, ap, interval, print_tables, ratio, signed

TABLE = Table(
    "Rate at AP 30",
    ("codec", "bytes", "AP"),
    [("raw:levels=p3+p5,precision=int4", "12,345", "30.12"), ("learned", "678", "–")],
)


def shown(*tables: Table, width: int = 100, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    print_tables(tables, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables_stand_one_below_the_other_under_their_titles() -> None:
    text = shown(TABLE, Table("Another", ("what",), [("cell",)]))
    assert text.index("Rate at AP 30") < text.index("learned") < text.index("Another") < text.index("cell")
    for cell in ("codec", "bytes", "raw:levels=p3+p5,precision=int4", "12,345", "30.12", "–"):
        assert cell in text


def test_words_stand_left_and_numbers_right() -> None:
    lines = shown(TABLE).splitlines()
    first, second = (next(line for line in lines if number in line) for number in ("12,345", "678"))
    assert first.index("12,345") + len("12,345") == second.index("678") + len("678")
    assert first.index("raw:") == second.index("learned")


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    text = shown(Table("[red]title", ("[bold]column", "x"), [("[blink]cell", "[/]")]), terminal=True)
    for literal in ("[red]title", "[bold]column", "[blink]cell", "[/]"):
        assert literal in text


def test_cells_cannot_speak_to_the_terminal() -> None:
    text = shown(Table("t", ("a",), [("street\x1b[2J.jpg",)]))
    assert "\x1b" not in text
    assert r"street\x1b[2J.jpg" in text


def test_a_narrow_terminal_folds_and_loses_nothing() -> None:
    text = shown(TABLE, width=44)
    assert max(map(len, text.splitlines())) <= 44
    assert sorted(filter(str.isalnum, text)) == sorted(filter(str.isalnum, shown(TABLE)))


def test_markdown_is_githubs() -> None:
    assert TABLE.to_markdown() == (
        "## Rate at AP 30\n"
        "\n"
        "| codec                           |   bytes |    AP |\n"
        "|:--------------------------------|--------:|------:|\n"
        "| raw:levels=p3+p5,precision=int4 |  12,345 | 30.12 |\n"
        "| learned                         |     678 |     – |\n"
    )


def test_a_bar_in_a_cell_is_no_border() -> None:
    table = Table("t", ("a|b", "c"), [("x|y", "1|2")])
    header, _, row = table.to_markdown().splitlines()[2:]
    assert r"a\|b" in header
    assert r"x\|y" in row
    assert r"1\|2" in row
    for line in (header, row):
        assert line.replace(r"\|", "").count("|") == 3


def test_numbers_in_cells_are_left_as_they_were_written() -> None:
    assert "| a   | 1e5 | 007 |" in Table("t", ("n", "x", "y"), [("a", "1e5", "007")]).to_markdown()


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1.000"), (9.8765, "9.877"), (12.34, "12.3"), (99.96, "100.0"), (1234.4, "1,234")]
)
def test_compression_ratios_have_four_digits_or_so(value: float, text: str) -> None:
    assert ratio(value) == text


@pytest.mark.parametrize(("value", "text"), [(30.126, "30.13"), (0, "0.00"), (None, "–"), (float("nan"), "–")])
def test_ap_has_two_digits_and_may_be_missing(value: float | None, text: str) -> None:
    assert ap(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.234, "+1.23"), (-1.234, "−1.23"), (0, "+0.00"), (None, "–"), (float("nan"), "–")]
)
def test_differences_have_their_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_intervals_have_two_ends() -> None:
    assert interval((-0.5, 1.25)) == "−0.50 … +1.25"
    assert signed(-12.3456, 1) == "−12.3"
