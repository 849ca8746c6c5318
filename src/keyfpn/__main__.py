"""The command `keyfpn`, also as `python -m keyfpn`: one name for all commands."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from keyfpn.console.exits import Version, run

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(epilog="Example: keyfpn edge encode photos/ --out packets/")
def keyfpn(*, version: Version = False) -> None:
    """Split computing for object detection: an edge sends key levels of a feature pyramid, a server finishes detection.

    Each command is also there under its own name, such as keyfpn-edge.
    """


@app.command()
def edge() -> None:
    """Turn pictures and videos into packets; send them to a server."""
    _hand_over("edge", "keyfpn.edge.cli")


@app.command()
def server() -> None:
    """Answer packets with boxes: over gRPC, or from files."""
    _hand_over("server", "keyfpn.server.cli")


@app.command()
def train() -> None:
    """Train and fit detectors and codecs."""
    _hand_over("train", "keyfpn.training.cli")


@app.command()
def bench() -> None:
    """Measure bytes against AP, and what each pyramid level is worth."""
    _hand_over("bench", "keyfpn.benchmarks.cli")


def _hand_over(command: str, module: str) -> None:
    """Go on as `keyfpn-<command>` with the arguments behind the command's name."""
    sys.argv = [f"keyfpn-{command}", *sys.argv[2:]]
    import_module(module).main()  # of the one room that is wanted: others may need packages that are not installed


def main() -> None:
    """Run the command and leave with its exit code."""
    run(app, "keyfpn", sys.argv[1:2])  # what comes behind a command's name is for that command to read


if __name__ == "__main__":
    main()
