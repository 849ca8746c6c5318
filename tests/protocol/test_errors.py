import pickle

import pytest

from keyfpn.protocol import errors

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", KINDS)
def test_says_what_was_expected_what_was_found_and_what_to_do(kind: type[errors.Error]) -> None:
    error = kind("codec", "one of [1, 2, 3]", 9, "Ask the sender.")
    assert (error.subject, error.expected, error.found, error.hint) == (
        "codec",
        "one of [1, 2, 3]",
        9,
        "Ask the sender.",
    )
    assert str(error) == "codec: expected one of [1, 2, 3], found 9. Ask the sender."


def test_a_message_without_hint_ends_with_what_was_found() -> None:
    assert str(errors.Truncated("packet", "53 bytes", 4)) == "packet: expected 53 bytes, found 4"


@pytest.mark.parametrize("kind", KINDS)
def test_crosses_process_borders(kind: type[errors.Error]) -> None:
    copy = pickle.loads(pickle.dumps(kind("codec", 1, 9, "hint")))
    assert type(copy) is kind
    assert (copy.subject, copy.expected, copy.found, copy.hint) == ("codec", 1, 9, "hint")


def test_a_configuration_error_is_no_protocol_error() -> None:
    assert not issubclass(errors.ConfigurationError, errors.ProtocolError)


def test_no_error_is_a_value_error() -> None:
    """`except ValueError` must not catch what the user can mend, nor `except Error` a mistake of the program."""
    assert not any(issubclass(kind, ValueError) for kind in KINDS)
