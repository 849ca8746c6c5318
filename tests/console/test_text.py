import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyfpn.console.text import printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""With lone surrogates, as file names may have them."""


@given(ANY_TEXT)
@example("street\x1b[2J.jpg")
@example("\udcff")
@example("a\u202eb\u0085\u2028")
def test_the_result_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    shown.encode()  # no lone surrogate, which no terminal takes


@given(ANY_TEXT)
def test_what_is_printable_stays(text: str) -> None:
    kept = "".join(character for character in text if character.isprintable())
    assert printable(kept) == kept


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\u202edesrever", r"\u202edesrever"),
        ("\udc80", r"\udc80"),
        ("Straße 1 – été 🚲", "Straße 1 – été 🚲"),
        (3.5, "3.5"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown
