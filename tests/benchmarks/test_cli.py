from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from keyfpn.benchmarks.cli import app, main


def test_every_study_has_a_command_whose_help_says_how_it_ends() -> None:
    listed = CliRunner().invoke(app, ["--help"]).stdout
    for study in ("rate", "levels", "split"):
        assert study in listed
        told = " ".join(CliRunner().invoke(app, [study, "--help"]).stdout.split())
        assert f"keyfpn-bench {study} --images val2017" in told
        assert "Exit codes: 0 all done; 1 something could not be done" in told


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"keyfpn {version('keyfpn')}\n"


def test_wrong_usage_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["keyfpn-bench", "rate", "--colour"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: No such option: --colour")


def test_help_need_not_wait_for_torch() -> None:
    program = "import sys, keyfpn.benchmarks.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
