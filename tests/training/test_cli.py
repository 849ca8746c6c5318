"""`keyfpn-train` itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from keyfpn.training.cli import app

COMMANDS = ("detector", "codec", "network", "fit")


def test_it_has_a_command_for_each_thing_that_is_trained() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Trains what keyfpn runs on." in shown
    assert all(f"\n  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_has_an_example_and_the_exit_codes(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"keyfpn-train {command} --" in result.output
    assert "Exit codes: 0 all done; 1 " in result.output
    assert "130 interrupted." in result.output


def test_the_version_is_that_of_keyfpn() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"keyfpn {version('keyfpn')}\n")


def test_wrong_usage_of_a_real_process_is_one_line_and_exit_code_2_and_needs_no_torch() -> None:
    main = "import sys; from keyfpn.training.cli import main; sys.modules['torch'] = None; main()"
    for arguments, message in {("fit",): "Missing option '--out'", ("fit", "--holdout=1"): "--holdout"}.items():
        command = [sys.executable, "-c", main, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert "See keyfpn-train --help." in result.stderr
