"""Starts a server process, sends pictures through an edge process, and writes a page that shows what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from keyfpn.console.exits import FAILED, exit_codes, fail, run
from keyfpn.console.progress import output

from .pictures import collect_pictures

CODEC = "learned:quality=5"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m examples.demo --out demo-output")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where pictures and page go.")] = Path("demo-output"),
) -> None:
    """Send the demo's pictures from an edge process to a server process, and show what it costs."""
    console = output()
    with exit_codes():
        pictures = collect_pictures(out / "pictures")
        console.print(f"[bold]{len(pictures)} pictures[/], edge and server in two processes, codec {CODEC}")
        answers = out / "answers.jsonl"
        with server_process() as address:
            send(out / "pictures", address, jsonl=answers, draw=out / "split")
        console.print("Measuring the unsplit detector and JPEG on the same pictures …")
        from .page import write_page  # and torch

        page = write_page(out, pictures, [json.loads(line) for line in answers.read_text().splitlines()], CODEC)
    console.print(f"Annotated pictures: {out / 'split'}, {out / 'unsplit'}\nThe whole way on one page: [bold]{page}[/]")


@contextmanager
def server_process() -> Iterator[str]:
    """Run ``keyfpn-server serve`` on a free loopback port for the length of the block.

    Yields:
        Its HOST:PORT, once it listens.
    """
    command = [_script("keyfpn-server"), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()


def send(pictures: Path, server: str, *, jsonl: Path, draw: Path) -> None:
    """Run ``keyfpn-edge send``; it prints what it finds, and what goes wrong."""
    command = [_script("keyfpn-edge"), "send", str(pictures), "--server", server, "--codec", CODEC]
    done = subprocess.run([*command, "--jsonl", str(jsonl), "--draw", str(draw)])
    if done.returncode:
        fail("the edge process could not send all pictures", done.returncode)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "listening":
            return f"{event['host']}:{event['port']}"
    fail("the server process ended before it listened", FAILED)


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))  # of this environment, activated or not


def main() -> NoReturn:
    """Entry point."""
    run(app, "python -m examples.demo")


if __name__ == "__main__":
    main()
