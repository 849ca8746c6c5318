"""How the command ends: exit codes, and one line on standard error per error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from keyfpn.detector.errors import ModelError
from keyfpn.protocol.errors import ConfigurationError

from .errors import ServerError

FAILED, USAGE, SERVER = 1, 2, 3
"""Exit codes: something could not be done; nothing could be begun; there is no server to work with."""


class Failures:
    """Counts the inputs that fail, and names each on standard error."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, message: str) -> None:
        self.count += 1
        print_error(message)

    def exit(self) -> None:
        """End with the exit code for failed inputs, if there were any."""
        if self.count:
            raise typer.Exit(FAILED)


@contextmanager
def exit_codes() -> Iterator[None]:
    """End with a message and an exit code where the user's settings, files or server are at fault."""
    try:
        yield
    except (ModelError, ConfigurationError) as error:
        fail(str(error), USAGE)
    except ServerError as error:
        fail(str(error), SERVER)
    except BrokenPipeError:
        raise  # whoever reads standard output has seen enough: typer ends quietly
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)


def fail(message: str, code: int) -> NoReturn:
    """End with a message and an exit code."""
    print_error(message)
    raise typer.Exit(code)


def print_error(message: str) -> None:
    """The one style of errors."""
    typer.echo(f"error: {message}", err=True)
