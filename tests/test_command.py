"""The command `keyfpn`, also as `python -m keyfpn`."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import keyfpn

COMMANDS = {"edge": "edge", "server": "server", "train": "training", "bench": "benchmarks"}
ROOMS_LOADED = """
import sys
from keyfpn.__main__ import main
try:
    main()
finally:
    commands = [name for name in sys.modules if name.startswith("keyfpn.") and name.endswith(".cli")]
    print("loaded:", *sorted({name.split(".")[1] for name in commands}))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "keyfpn", *arguments], capture_output=True, text=True)


def test_version() -> None:
    assert keyfpn.__version__ == version("keyfpn")
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"keyfpn {version('keyfpn')}\n", "")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        keyfpn.nothing  # noqa: B018


def test_help_tells_every_command_in_one_line() -> None:
    script = subprocess.run([Path(sys.executable).with_name("keyfpn"), "--help"], capture_output=True, text=True)
    assert (script.returncode, script.stdout) == (0, run("--help").stdout)
    lines = script.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines[:4]] == [*COMMANDS]
    assert all(line.endswith(".") and not line.endswith("...") for line in lines[:4])


def test_without_a_command_the_help_is_shown() -> None:
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (2, run("--help").stdout, "")


def test_wrong_usage() -> None:
    done = run("nose")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command 'nose'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "room"), COMMANDS.items())
def test_a_command_gets_its_arguments_and_loads_its_room_alone(command: str, room: str) -> None:
    done = subprocess.run([sys.executable, "-c", ROOMS_LOADED, command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: keyfpn-{command} ")
    assert done.stdout.splitlines()[-1] == f"loaded: {room}"


def test_a_commands_exit_code_is_passed_on() -> None:
    done = run("edge", "encode", "--nosuchoption")
    assert done.returncode == 2
    assert "--nosuchoption" in done.stderr
    assert "keyfpn-edge --help" in done.stderr
