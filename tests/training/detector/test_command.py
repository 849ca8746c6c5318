from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from keyfpn.detector.model import open_detector
from keyfpn.training.cli import app
from keyfpn.training.engine.log import read_log


def arguments(drawn: Path, out: Path, config: Path, *more: object) -> list[str]:
    given = {"images": drawn / "images", "annotations": drawn / "annotations.json", "out": out, "config": config}
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return ["detector", *options, "--steps=2", "--batch=1", "--holdout=2", "--precision=fp32", *map(str, more)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_help_shows_an_example_and_the_folder() -> None:
    result = run("detector", "--help")
    assert result.exit_code == 0
    assert "keyfpn-train detector --images coco/train" in result.output
    assert "checkpoint.pt" in result.output
    assert re.search(r"--steps .*\[default: \(3694", result.output, re.DOTALL)
    assert "detector" in run("--help").output


def test_a_run_from_beginning_to_end(drawn: Path, tmp_path: Path, tiny_config: Path) -> None:
    out = tmp_path / "run"
    result = run(*arguments(drawn, out, tiny_config))
    assert result.exit_code == 0, result.output
    assert str(out / "model") in result.output
    assert len(open_detector(str(out / "model")).class_names) == 2
    settings = json.loads((out / "settings.json").read_text())
    assert settings["holdout"] == 2
    assert re.fullmatch("[0-9a-f]{64}", settings["annotations"])
    assert str(tmp_path) not in json.dumps(settings)

    again = run(*arguments(drawn, out, tiny_config))
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert "holds a run already: add --resume" in again.stderr
    resumed = run(*arguments(drawn, out, tiny_config, "--resume"))
    assert resumed.exit_code == 0
    assert "finished already" in resumed.stderr
    other = run(*arguments(drawn, out, tiny_config, "--resume", "--seed=1"))
    assert other.exit_code == 2
    assert "seed is 0 there, 1 now" in other.stderr


def test_errors_are_one_line_on_stderr(drawn: Path, tmp_path: Path, tiny_config: Path) -> None:
    save_file({}, tmp_path / "empty.safetensors")
    (tmp_path / "file").write_text("")
    cases = {
        "no such annotation file": ["--annotations", tmp_path / "none.json"],
        "expected the folder of the pictures": ["--images", tmp_path / "none"],
        "no config 'none'": ["--config", "none"],
        "no such weights file": ["--init-weights", tmp_path / "none.pth"],
        "expected the arrays of torchvision's": ["--init-backbone", tmp_path / "empty.safetensors"],
        "more pictures than the 12 to hold out": ["--holdout", 12],
        "expected the checkpoint of a run to resume": ["--resume"],
        "File exists": ["--out", tmp_path / "file"],
    }
    for message, options in cases.items():
        result = run(*arguments(drawn, tmp_path / "run", tiny_config, *options))
        assert result.exit_code == 2, message
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_ends_a_real_process_with_a_checkpoint(drawn: Path, tmp_path: Path, tiny_config: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from keyfpn.training.cli import main; main()"]
    command += arguments(drawn, out, tiny_config, "--steps=100000")
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while len(read_log(out / "log.jsonl")) < 3 and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the loader's process too
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    taken = read_log(out / "log.jsonl")[-1]["step"]
    assert f"Interrupted after step {taken}." in stdout
    assert "Traceback" not in stderr
    assert not (out / "model").exists()
