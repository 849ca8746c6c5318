from typing import Any

import pytest

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.geometry import Geometry

PYRAMID = Pyramid(channels=256, independent=("p2", "p3", "p4", "p5"))


def config(in_features: list[str], channels: int = 256) -> dict[str, Any]:
    return {"MODEL": {"FPN": {"IN_FEATURES": in_features, "OUT_CHANNELS": channels}}}


def test_the_bundled_detectors_pyramid(detector_model: Model) -> None:
    assert detector_model.pyramid == Pyramid(channels=128, independent=("p2", "p3", "p4", "p5"))
    assert detector_model.pyramid.derived == {"p6": "p5"}
    assert detector_model.pyramid.size_divisibility == 32


def test_all_levels_of_a_picture() -> None:
    assert PYRAMID.levels == ("p2", "p3", "p4", "p5", "p6")
    geometry = PYRAMID.geometry((800, 1067))
    assert geometry == Geometry(network_size=(800, 1067), channels=256, size_divisibility=32, levels=PYRAMID.levels)
    assert [geometry.level_shape(level)[1:] for level in PYRAMID.levels] == [
        (200, 272),
        (100, 136),
        (50, 68),
        (25, 34),
        (13, 17),
    ]


@pytest.mark.parametrize(
    ("stages", "independent", "derived", "divisibility"),
    [
        (["res2", "res3", "res4", "res5"], ("p2", "p3", "p4", "p5"), {"p6": "p5"}, 32),
        (["res3", "res4", "res5"], ("p3", "p4", "p5"), {"p6": "p5"}, 32),
        (["res2", "res3", "res4"], ("p2", "p3", "p4"), {"p5": "p4"}, 16),
    ],
)
def test_a_config_says_what_the_fpn_is(
    stages: list[str], independent: tuple[str, ...], derived: dict[str, str], divisibility: int
) -> None:
    expected = Pyramid(channels=64, independent=independent, derived=derived, size_divisibility=divisibility)
    assert Pyramid.of_config(config(stages, 64)) == expected


@pytest.mark.parametrize("document", [config([]), {"MODEL": {"FPN": {"OUT_CHANNELS": 256}}}])
def test_a_config_without_an_fpn_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"expected one with an FPN, found a config whose MODEL\.FPN\.IN_FEATURES is"):
        Pyramid.of_config(document)


def test_key_levels_come_fine_to_coarse() -> None:
    assert PYRAMID.key_levels("p5+p3", "codec raw") == ("p3", "p5")
    assert PYRAMID.key_levels("p6", "codec raw") == ("p6",)


@pytest.mark.parametrize("text", ["", "p7", "p3+", "p3+p3", "p3,p5", "P3", "res2"])
def test_other_key_levels_are_refused(text: str) -> None:
    expected = r"codec raw, levels: expected some of p2, p3, p4, p5, p6, each once, joined by \+, found "
    with pytest.raises(ConfigurationError, match=expected):
        PYRAMID.key_levels(text, "codec raw")


def test_words_for_a_derived_level() -> None:
    assert PYRAMID.origin("p6") == "exact from p5 (max-pool, kernel 1, stride 2)"
