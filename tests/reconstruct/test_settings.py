import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.settings import CodecSettings

KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9_.+-]{1,12}", fullmatch=True)


@given(name=KEYS, options=st.dictionaries(KEYS, VALUES, max_size=4))
def test_text_and_settings_are_one(name: str, options: dict[str, str]) -> None:
    settings = CodecSettings(name, tuple(options.items()))
    assert CodecSettings.parse(str(settings)) == settings


@pytest.mark.parametrize(
    "text", ["", "raw:levels", "raw:levels=", "raw:a=1,a=2", "raw:a=1,", "Raw", "raw:a = 1", "raw a=1"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected NAME or NAME:KEY=VALUE"):
        CodecSettings.parse(text)


@given(st.text(max_size=40))
def test_any_text_gives_settings_or_a_configuration_error(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert str(CodecSettings.parse(text)).rstrip(":") == text.rstrip(":")
