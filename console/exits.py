"""How commands end: exit codes, which mean the same in all of them, and one line on standard error per error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import MappingProxyType
from typing import Annotated, NoReturn

import typer

from keyfpn.protocol.errors import Error
from keyfpn.protocol.packages import packages_of_extras

from .text import printable

FAILED, USAGE, SERVER, INTERRUPTED = 1, 2, 3, 130
EXIT_CODES = (
    "Exit codes: 0 all done; 1 something could not be done, named on standard error; 2 nothing could be begun: wrong "
    "usage, or a model, settings or data that cannot be used"
)
"""For the help of every command, which may add its own."""

_NO_KINDS: Mapping[type[Error], int] = MappingProxyType({})


class Failures:
    """Counts the inputs that fail, and names each on standard error."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, message: object) -> None:
        self.count += 1
        print_error(message)

    def exit(self) -> None:
        """End with the exit code for failed inputs, if there were any."""
        if self.count:
            raise typer.Exit(FAILED)


@contextmanager
def exit_codes(kinds: Mapping[type[Error], int] = _NO_KINDS) -> Iterator[None]:
    """End with one line and an exit code where the user's settings, files or server are at fault.

    Args:
        kinds: exit codes of kinds of errors; every other one of keyfpn's ends with :data:`USAGE`, and what the system
            refuses, such as a full disk, with :data:`FAILED`.
    """
    try:
        with packages_of_extras():
            yield
    except Error as error:
        fail(error, next((code for kind, code in kinds.items() if isinstance(error, kind)), USAGE))
    except BrokenPipeError:
        raise  # whoever reads standard output has seen enough: typer ends quietly
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else error, FAILED)


def fail(message: object, code: int) -> NoReturn:
    """End with a message and an exit code."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: object) -> None:
    """Print the one line that all errors are."""
    typer.echo(f"error: {printable(' '.join(str(message).split()))}", err=True)


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with its exit code; one that has subcommands shows its help where none is named.

    Args:
        app: the command.
        program: its name.
        arguments: of the command line; the process's own unless given.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    unnamed = app.registered_callback is not None and not words
    try:
        code = app(["--help"] if unnamed else words, prog_name=program, standalone_mode=False)
        sys.exit(USAGE if unnamed else code)
    except typer.TyperException as error:
        print_error(f"{error.format_message().rstrip('.')}. See {program} --help.")
        sys.exit(USAGE)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keyfpn {version('keyfpn')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version of keyfpn.")
]
"""An option of every command's callback."""
