"""Starts a server process, sends pictures through an edge process, and writes a page that shows what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .page import write_page
from .pictures import collect_pictures

CODEC = "learned:quality=5"


def run(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where pictures and page go.")] = Path("demo-output"),
) -> None:
    """Send the demo's pictures from an edge process to a server process, and show what it costs.

    Example: python -m examples.demo --out demo-output
    """
    console = Console()
    pictures = collect_pictures(out / "pictures")
    console.print(f"[bold]{len(pictures)} pictures[/], edge and server in two processes, codec {CODEC}")
    answers = out / "answers.jsonl"
    with server_process() as address:
        command = ["send", str(out / "pictures"), "--server", address, "--codec", CODEC]
        outputs = ["--jsonl", str(answers), "--draw", str(out / "split")]
        subprocess.run([_script("keyfpn-edge"), *command, *outputs], check=True)
    console.print("Measuring the unsplit detector and JPEG on the same pictures …")
    page = write_page(out, pictures, [json.loads(line) for line in answers.read_text().splitlines()], CODEC)
    console.print(f"Annotated pictures: {out / 'split'}, {out / 'unsplit'}\nThe whole way on one page: [bold]{page}[/]")


@contextmanager
def server_process() -> Iterator[str]:
    """Run ``keyfpn-server serve`` on a free loopback port for the length of the block.

    Yields:
        Its HOST:PORT, once it listens.

    Raises:
        RuntimeError: it ended before it listened; it has said why on stderr.
    """
    command = [_script("keyfpn-server"), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield _address(process)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "listening":
            return f"{event['host']}:{event['port']}"
    raise RuntimeError("the server ended before it listened")


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))  # of this environment, activated or not


if __name__ == "__main__":
    typer.run(run)
