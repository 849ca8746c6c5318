"""What a result concludes, on figures made up for it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from keyfpn.benchmarks.engine.evaluation import Figures
from keyfpn.benchmarks.levels.report import findings
from keyfpn.benchmarks.levels.result import LevelResult
from keyfpn.benchmarks.levels.rows import Measured, keyset_rows, precision_rows
from keyfpn.detector.coco import Metrics
from keyfpn.detector.model import Model

UNSPLIT = 20.0
# Of a picture whose p6 has 1 value: p5 has 4, p4 16, and so on.
ELEMENTS = {"p2": 256, "p3": 64, "p4": 16, "p5": 4}
RAW = 341


def figures(ap: float, bytes: float) -> Figures:
    intervals = dict.fromkeys(("AP", "APs", "APm", "APl"), (ap - UNSPLIT - 0.5, ap - UNSPLIT + 0.5))
    return Figures(bytes, Metrics(ap, ap, ap, ap, ap), 50.0, intervals)


def result(model: Model, aps: Mapping[str, float], max_drop: float = 1.4) -> LevelResult:
    """Key sets of these AP, the others of 1 AP; the scope rpn has 1 AP more."""
    measured = []
    for row in [*keyset_rows(model), *precision_rows(model)]:
        assert row.key_levels is not None
        elements = sum(ELEMENTS[level] for level in row.key_levels)
        share = {"fp32,coder=store": 4.0, "fp32,coder=zstd": 3.0, "fp16,coder=store": 2.0}
        bytes = elements * next((size for text, size in share.items() if text in row.setting), 1.0)
        ap = aps.get("+".join(row.key_levels), 1.0) + (row.scope == "rpn")
        measured.append(Measured(row, elements, figures(ap, bytes)))
    return LevelResult(
        model=model,
        precision="bf16",
        pictures=10,
        raw_elements=RAW,
        unsplit=figures(UNSPLIT, 100.0),
        measured=measured,
        search=None,
        max_drop=max_drop,
    )


def names(measured: list[Measured]) -> list[str]:
    return ["+".join(one.row.key_levels or ()) for one in measured]


def test_the_front_holds_what_nothing_beats(quick_model: Model) -> None:
    aps = {"p5": 3.0, "p4+p5": 10.0, "p3+p5": 9.0, "p3+p4+p5": 10.0, "p2+p4": 18.0, "p2+p3+p4+p5": 20.0}
    found = result(quick_model, aps)
    assert names(found.front("full")) == ["p5", "p4+p5", "p2+p4", "p2+p3+p4+p5"]
    assert names(found.front("rpn")) == names(found.front("full"))
    text = " ".join(findings(found))
    assert "p3+p5 (9.00) is not: p4+p5 has 10.00 for no more values" in text


def test_a_set_on_the_front_is_said_to_be(quick_model: Model) -> None:
    found = result(quick_model, {"p4+p5": 8.0, "p3+p5": 9.0, "p2+p3+p4+p5": 20.0})
    assert "p3+p5" in names(found.front("full"))
    assert "p3+p5 (9.00) is on it." in " ".join(findings(found))


@pytest.mark.parametrize(
    ("max_drop", "cheapest"), [(1.4, "p2+p4+p5"), (0.0, "p2+p3+p4+p5"), (5.0, "p3+p5"), (30.0, "p5")]
)
def test_the_cheapest_within_a_drop(quick_model: Model, max_drop: float, cheapest: str) -> None:
    aps = {"p3+p5": 15.0, "p2+p5": 18.0, "p2+p4+p5": 18.6, "p2+p3+p5": 19.0, "p2+p3+p4+p5": 20.0}
    found = result(quick_model, aps, max_drop).cheapest("full")
    assert found is not None
    assert names([found]) == [cheapest]


def test_the_studys_arithmetic(quick_model: Model) -> None:
    found = result(quick_model, {"p3+p5": 12.0})
    at = found.at_study_ratio("full")
    assert at is not None
    # 5.015 by count: zstd's 6.7 is not within 7.96, float16's 10.03 is the first.
    assert at.row.setting == "interpolate:levels=p3+p5,precision=fp16,coder=store"
    headline = next(findings(found))
    assert "p3+p5 are 5.015x less" in headline
    assert "7.96x is another 1.587x" in headline
    assert "10.0x: 13.00 AP, −7.00 points or −35.0 % (rpn) and 12.00 AP, −8.00 points or −40.0 % (full)" in headline


def test_nan_becomes_null(quick_model: Model) -> None:
    found = result(quick_model, {})
    nan = float("nan")
    empty = Figures(1.0, Metrics(1.0, 1.0, nan, 1.0, 1.0), nan, {"AP": (0.0, 1.0), "APs": (nan, nan)})
    document = LevelResult(**{**vars(found), "measured": [Measured(found.measured[0].row, 1.0, empty)]}).to_dict()
    text = json.dumps(document["rows"], allow_nan=False)
    (row,) = json.loads(text)
    assert (row["APs"], row["dAPs_low"], row["agreement"]) == (None, None, None)
