"""`keyfpn-train codec`, from pictures to packets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from keyfpn.training.engine.log import read_log

Train = Callable[..., Result]


def check_run(out: Path, assert_codec_works: Callable[[Path, str], None]) -> None:
    records = read_log(out / "log.jsonl")
    assert all({"rate", "feature", "rpn", "box"} <= set(record) for record in records if "loss" in record)
    assert any(name.startswith("agreement ") for name in records[-1]["evaluation"])
    assert_codec_works(out / "model", "learned")


def test_from_pictures_to_packets(
    train: Train, trained_codec: Path, assert_codec_works: Callable[[Path, str], None]
) -> None:
    check_run(trained_codec, assert_codec_works)
    resumed = train("codec", trained_codec, "--resume")
    assert (resumed.exit_code, "finished already" in resumed.stderr) == (0, True)


def test_from_pictures_to_packets_in_half_precision(
    train: Train, tmp_path: Path, assert_codec_works: Callable[[Path, str], None]
) -> None:
    result = train("codec", tmp_path / "run", "--precision=bf16")
    assert result.exit_code == 0, result.output
    check_run(tmp_path / "run", assert_codec_works)
    resumed = train("codec", tmp_path / "run", "--precision=bf16", "--resume")
    assert "finished already" in resumed.stderr


def test_a_codec_starts_from_a_published_one(train: Train, trained_codec: Path, tmp_path: Path) -> None:
    result = train("codec", tmp_path / "run", f"--init-codec={trained_codec / 'model'}")
    assert result.exit_code == 0, result.output
    card = (tmp_path / "run" / "model" / "learned" / "README.md").read_text()
    assert "They started from the codec of model, fingerprint " in card
    other = train("codec", tmp_path / "other", f"--init-codec={tmp_path}")
    assert (other.exit_code, other.stderr.startswith("error: ")) == (2, True)


def test_a_codec_that_starts_from_none_says_so(trained_codec: Path) -> None:
    assert "They started from no other codec." in (trained_codec / "model" / "learned" / "README.md").read_text()


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("nowhere", "--images=nowhere"),
        ("expected more than the 12 to hold out, found 12", "--holdout=12"),
        ("expected the checkpoint of a run to resume", "--resume"),
    ],
)
def test_errors_are_one_line_on_stderr(train: Train, tmp_path: Path, message: str, option: str) -> None:
    result = train("codec", tmp_path / "run", option)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
