from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from keyfpn.detector.model import open_model
from keyfpn.training.cli import app
from keyfpn.training.detector.training import DetectorTraining
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


def test_a_run_from_beginning_to_end(drawn: Path, tmp_path: Path, tiny_config: Path) -> None:
    out = tmp_path / "run"
    result = run(*arguments(drawn, out, tiny_config))
    assert result.exit_code == 0, result.output
    assert str(out / "model") in result.output
    assert len(open_model(str(out / "model")).labels) == 2
    settings = json.loads((out / "settings.json").read_text())
    assert settings["holdout"] == 2
    assert re.fullmatch("[0-9a-f]{64}", settings["annotations"])
    assert str(tmp_path) not in json.dumps(settings)

    again = run(*arguments(drawn, out, tiny_config))
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert "found one that holds a run already. Add --resume" in again.stderr
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
        "none.json": ["--annotations", tmp_path / "none.json"],
        "no-images": ["--images", tmp_path / "no-images"],
        "no-config": ["--config", "no-config"],
        "none.pth": ["--init-weights", tmp_path / "none.pth"],
        "device 'gpu'": ["--device", "gpu"],
        "expected the arrays of torchvision's": ["--init-backbone", tmp_path / "empty.safetensors"],
        "expected more than the 12 to hold out": ["--holdout", 12],
        "expected the checkpoint of a run to resume": ["--resume"],
        "expected a folder, or a place to make it, found a file": ["--out", tmp_path / "file"],
    }
    for message, options in cases.items():
        result = run(*arguments(drawn, tmp_path / "run", tiny_config, *options))
        assert result.exit_code == 2, message
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


def test_what_stops_a_run_that_was_begun_is_one_line_and_exit_code_1(
    drawn: Path, tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(drawn, tmp_path / "copy")
    for path in (tmp_path / "copy" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    result = run(*arguments(tmp_path / "copy", tmp_path / "corrupt", tiny_config))
    assert (result.exit_code, result.stderr.count("error: ")) == (1, 1)  # beside the progress
    assert re.search(r"^error: .*\d\.png: .*\n\Z", result.stderr, re.MULTILINE)

    monkeypatch.setattr(DetectorTraining, "losses", lambda *_: {"loss": torch.tensor(torch.nan)})
    result = run(*arguments(drawn, tmp_path / "diverged", tiny_config))
    assert result.exit_code == 1
    assert "error: step 1, where training diverged: expected a finite loss, found nan." in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_ends_a_real_process_with_a_checkpoint(drawn: Path, tmp_path: Path, tiny_config: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from keyfpn.training.cli import main; main()"]
    command += arguments(drawn, out, tiny_config, "--steps=100000")
    process = subprocess.Popen(
        command,
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
