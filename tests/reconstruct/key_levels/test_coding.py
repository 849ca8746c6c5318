"""The options of codecs that send key levels."""

from __future__ import annotations

import pytest

from keyfpn.detector.model import Model
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.reconstruct.registry import open_encoder


def test_defaults_use_the_models_ranges_where_it_has_them(fitted_model: Model, bare_model: Model) -> None:
    raw = open_encoder("raw", fitted_model)
    assert str(raw.settings) == "raw:levels=p2+p3+p4+p5,precision=int8,coder=ans,ranges=model"
    interpolate = open_encoder("interpolate", bare_model)
    assert str(interpolate.settings) == "interpolate:levels=p3+p5,precision=int8,coder=ans,ranges=picture"
    assert str(open_encoder("raw:precision=fp16", fitted_model).settings).endswith(",precision=fp16,coder=store")


def test_key_levels_come_fine_to_coarse(bare_model: Model) -> None:
    encoder = open_encoder("raw:levels=p6+p2+p4", bare_model)
    assert encoder.inputs == ("p2", "p4", "p6")
    assert dict(encoder.settings.options)["levels"] == "p2+p4+p6"


def test_full_settings_give_the_same_encoder_again(fitted_model: Model) -> None:
    for text in ("raw", "interpolate:precision=fp32", "raw:levels=p5,ranges=minmax,precision=int3"):
        settings = open_encoder(text, fitted_model).settings
        assert open_encoder(str(settings), fitted_model).settings == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "raw:precision=fp32,coder=ans",
            r"coder of floats: expected store or zstd, found ans\. ans codes integers only",
        ),
        ("raw:precision=int9", r"codec raw, precision: expected one of fp32, fp16, int2, .*, int8, found 'int9'"),
        ("raw:coder=zip", r"codec raw, coder: expected one of store, zstd, ans, found 'zip'"),
        ("raw:levels=p7", r"codec raw, levels: expected some of p2, p3, p4, p5, p6, each once, .*, found 'p7'"),
        ("raw:levels=p3+p3", r"each once, joined by \+, found 'p3\+p3'"),
        ("raw:precision=fp16,ranges=picture", r"codec raw, ranges: expected none with fp16, found picture"),
        (
            "raw:ranges=model",
            r"codec raw: expected fitted int8 ranges of p2\+p3\+p4\+p5 in the model, found none in bare\. "
            r"Run keyfpn-train fit, or send them with ranges=picture\.",
        ),
        ("raw:ranges=none", r"codec raw, ranges: expected one of model, picture, minmax, found 'none'"),
        ("raw:quality=3", r"codec raw, options: expected some of levels, precision, coder, ranges, found quality"),
    ],
)
def test_settings_that_cannot_work_are_refused(bare_model: Model, settings: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        open_encoder(settings, bare_model)
