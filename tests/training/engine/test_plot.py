from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from keyfpn.training.engine.log import Record
from keyfpn.training.engine.plot import plot_log


def draw(path: Path, records: list[Record]) -> np.ndarray:
    plot_log(records, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


STEPS: list[Record] = [{"step": step, "loss": 3 / step} for step in range(1, 100)]


def test_nothing_is_drawn_before_the_first_step(tmp_path: Path) -> None:
    plot_log([{"step": 0, "evaluation": {"AP": 0.0}}], tmp_path / "loss.png")
    assert list(tmp_path.iterdir()) == []


def test_evaluations_add_a_curve_and_gaps_are_left_out(tmp_path: Path) -> None:
    evaluations: list[Record] = [{"step": step, "evaluation": {"AP": step / 10, "APl": None}} for step in (0, 50, 99)]
    without, with_evaluations = draw(tmp_path / "a.png", STEPS), draw(tmp_path / "b.png", STEPS + evaluations)
    half = without.shape[0] // 2
    assert (without[half:] != with_evaluations[half:]).sum() > 1000
    assert len(list(tmp_path.iterdir())) == 2  # no temporary file stays


def test_one_step_is_enough(tmp_path: Path) -> None:
    assert draw(tmp_path / "loss.png", STEPS[:1]).std() > 0
