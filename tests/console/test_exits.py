"""How commands end: a small command of its own stands for all of them."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest
import typer

from keyfpn.console.exits import FAILED, INTERRUPTED, SERVER, USAGE, Failures, Version, exit_codes, run
from keyfpn.protocol.errors import ConfigurationError, Error, ProtocolError, Truncated

Ended = Callable[..., tuple[int, str, str]]


class ServerError(Error):
    """Stands for what an edge's server does."""


def command_that(body: Callable[[], None]) -> typer.Typer:
    """A command with `do` and `--version`."""
    app = typer.Typer(add_completion=False)

    @app.callback()
    def _main(version: Version = False) -> None:
        """A command."""

    @app.command()
    def do(often: int = 1) -> None:
        """Do it."""
        with exit_codes({ServerError: SERVER, ProtocolError: FAILED}):
            body()

    return app


@pytest.fixture
def ended(capsys: pytest.CaptureFixture[str]) -> Ended:
    """Runs a command to its end: exit code, standard output, standard error."""

    def call(body: Callable[[], None], *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(command_that(body), "keyfpn-do", arguments or ("do",))
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return call


def test_without_a_subcommand_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(command_that(lambda: None), "keyfpn-do", [])
    shown = capsys.readouterr()
    assert left.value.code == 2
    assert "Usage: keyfpn-do" in shown.out
    assert not shown.err


def test_a_command_without_subcommands_runs_without_a_word() -> None:
    done: list[int] = []
    app = typer.Typer(add_completion=False)
    app.command()(lambda: done.append(1))
    with pytest.raises(SystemExit) as left:
        run(app, "keyfpn-do", [])
    assert not left.value.code
    assert done == [1]


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def nothing() -> None:
    """All goes well."""


def test_all_done_is_0(ended: Ended) -> None:
    assert ended(nothing) == (0, "", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Error("model 'x'", "one that exists", "none"), USAGE),
        (ConfigurationError("codec", "one of raw", "'x'"), USAGE),
        (ProtocolError("packet", "50 bytes", 3), FAILED),
        (Truncated("packet", "50 bytes", 3), FAILED),  # a kind of the kind
        (ServerError("localhost:1", "a server", "nobody"), SERVER),
    ],
)
def test_errors_of_keyfpn_end_with_the_code_of_their_kind(ended: Ended, error: Error, code: int) -> None:
    assert ended(raising(error)) == (code, "", f"error: {error}\n")


def test_the_codes_are_those_of_the_help() -> None:
    assert (FAILED, USAGE, SERVER, INTERRUPTED) == (1, 2, 3, 130)


def test_an_error_is_one_line_with_its_control_characters_escaped(ended: Ended) -> None:
    error = Error("street\x1b[2J.jpg", "a picture,\n\n  upright", "\u202esomething else\udcff", "Look\tat it.")
    code, _, shown = ended(raising(error))
    assert code == USAGE
    assert shown == (
        "error: street\\x1b[2J.jpg: expected a picture, upright, found \\u202esomething else\\udcff. Look at it.\n"
    )


def test_what_the_system_refuses_is_1_and_names_the_file(ended: Ended) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "out/a.kfpn")
    assert ended(raising(full)) == (FAILED, "", "error: out/a.kfpn: No space left on device\n")
    assert ended(raising(OSError("it is gone"))) == (FAILED, "", "error: it is gone\n")


@pytest.mark.parametrize(
    ("module", "hint"),
    [
        ("torch", "Install it with: pip install 'keyfpn[torch]'"),
        ("torch.nn", "Install it with: pip install 'keyfpn[torch]'"),
        ("av", "Install it with: pip install 'keyfpn[video]'"),
        ("pycocotools.coco", "Install it with: pip install 'keyfpn[torch]'"),
        ("detectron2.config", "Install detectron2 from github.com/facebookresearch/detectron2, or run make in "),
    ],
)
def test_a_package_of_an_extra_that_is_missing_is_said_with_what_to_install(
    ended: Ended, module: str, hint: str
) -> None:
    code, out, shown = ended(raising(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    package = module.partition(".")[0]
    assert (code, out) == (USAGE, "")
    assert shown.startswith(f"error: package {package}: expected it to be installed, found it is not. {hint}")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("no", name="colorsys2"), ModuleNotFoundError("no"), ValueError()]
)
def test_mistakes_of_the_program_are_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(command_that(raising(error)), "keyfpn-do", ("do",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("do", "--nothing"), "No such option: --nothing"),
        (("undo",), "No such command 'undo'"),
        (("do", "--often", "x"), "Invalid value for '--often': "),
        (("do", "too", "much"), "Got unexpected extra argument"),
    ],
)
def test_wrong_usage_is_2_and_one_line(ended: Ended, arguments: tuple[str, ...], message: str) -> None:
    code, out, shown = ended(nothing, *arguments)
    assert (code, out) == (USAGE, "")
    assert shown.startswith(f"error: {message}")
    assert shown.endswith(". See keyfpn-do --help.\n")
    assert ".." not in shown
    assert shown.count("\n") == 1


def test_an_option_with_control_characters_is_shown_escaped(ended: Ended) -> None:
    code, _, shown = ended(nothing, "do", "--\x1b[2J")
    assert code == USAGE
    assert "\x1b" not in shown
    assert r"\x1b[2J" in shown


def test_the_version_is_the_packages(ended: Ended) -> None:
    assert ended(raising(AssertionError()), "--version") == (0, f"keyfpn {version('keyfpn')}\n", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupted_command_is_130(ended: Ended, error: BaseException) -> None:
    code, out, _ = ended(raising(error))
    assert (code, out) == (INTERRUPTED, "")


def test_inputs_that_failed_are_named_and_make_the_code_1(ended: Ended) -> None:
    failures = Failures()

    def body() -> None:
        failures("a.jpg: expected a picture, found\na folder")
        failures(Error("b.jpg", "a picture", "none"))
        failures.exit()

    shown = "error: a.jpg: expected a picture, found a folder\nerror: b.jpg: expected a picture, found none\n"
    assert ended(body) == (FAILED, "", shown)
    assert failures.count == 2


def test_without_failed_inputs_the_code_is_0(ended: Ended) -> None:
    assert ended(Failures().exit) == (0, "", "")


def test_a_broken_pipe_is_left_to_typer() -> None:
    with pytest.raises(BrokenPipeError), exit_codes():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_who_reads_no_further_sees_no_error() -> None:
    program = (
        "import typer\n"
        "from keyfpn.console.exits import exit_codes, run\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def do() -> None:\n"
        "    with exit_codes():\n"
        "        for number in range(200_000):\n"
        "            print(number)\n"
        "run(app, 'do', [])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert errors == b""
