"""`keyfpn-train network`, from pictures to packets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from keyfpn.training.engine.log import read_log


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_from_pictures_to_packets(
    precision: str,
    train: Callable[..., Result],
    tmp_path: Path,
    assert_codec_works: Callable[[Path, str], None],
) -> None:
    out = tmp_path / "run"
    result = train("network", out, f"--precision={precision}")
    assert result.exit_code == 0, result.output
    assert f"The model is in {out / 'model'}." in result.output
    records = read_log(out / "log.jsonl")
    assert all({"feature", "rpn", "box"} <= set(record) for record in records if "loss" in record)
    assert any(name.startswith("agreement ") for name in records[-1]["evaluation"])
    assert_codec_works(out / "model", "network")
    resumed = train("network", out, f"--precision={precision}", "--resume")
    assert "finished already" in resumed.stderr
