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


def test_an_option_of_a_few_values() -> None:
    settings = CodecSettings.parse("raw:coder=zstd")
    assert settings.choose("coder", ("store", "zstd"), "store") == "zstd"
    assert settings.choose("precision", ("int8", "fp32"), "int8") == "int8"
    with pytest.raises(ConfigurationError, match="codec raw, coder: expected one of store, ans, found 'zstd'"):
        settings.choose("coder", ("store", "ans"), "store")


def test_options_that_a_codec_does_not_have() -> None:
    settings = CodecSettings.parse("raw:b=1,a=2,c=3")
    settings.require_known(("c", "b", "a"))
    with pytest.raises(ConfigurationError, match="codec raw, options: expected some of a, d, found b, c"):
        settings.require_known(("a", "d"))
    with pytest.raises(ConfigurationError, match="codec raw, options: expected none, found b, a, c"):
        settings.require_known(())
