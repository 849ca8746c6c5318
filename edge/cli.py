"""The command `keyfpn-edge`: `encode` writes packets, `send` streams them to a server, `inspect` takes one apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from keyfpn.console import exits
from keyfpn.console.exits import EXIT_CODES, FAILED, SERVER, Failures, Version, exit_codes
from keyfpn.console.options import Coco, Detector, Device, Json, Precision, Weights
from keyfpn.detector import BUNDLED
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.limits import DEFAULT_LIMITS
from keyfpn.protocol.packet import Packet

from .errors import ServerError

# Commands import `run` and what it needs when they run: --help and mistyped options need not wait for that.

app = typer.Typer(
    help="The edge of keyfpn: from pictures to packets of key pyramid levels.",
    add_completion=False,
    rich_markup_mode=None,  # help has brackets in it, which are no markup
    pretty_exceptions_enable=False,
)


@app.callback()
def keyfpn_edge(*, version: Version = False) -> None:
    """The edge of keyfpn: from pictures to packets of key pyramid levels."""


_Inputs = Annotated[
    list[Path] | None, typer.Argument(metavar="PICTURES|DIR|VIDEO", help="Pictures, folders of pictures, videos.")
]
_Camera = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DEVICE",
        help="A camera, such as /dev/video0; FORMAT:DEVICE for another kind of FFmpeg input device. Ctrl-C ends it.",
    ),
]
_Codec = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:KEY=VALUE,...]",
        help="How features travel, such as learned:quality=3 or interpolate:levels=p3+p5,precision=int4.  "
        "[default: learned where the model has it, else interpolate]",
    ),
]


@app.command(epilog=f"Example: keyfpn-edge encode photos/ --out packets/\n\n{EXIT_CODES}.")
def encode(
    inputs: _Inputs = None,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the packets here, as NAME.kfpn.")],
    camera: _Camera = None,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    codec: _Codec = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Encode pictures into packets, one file each.

    A packet's frame id is its picture's file name where that is a number, as COCO's are; else a running number.
    """
    failures = Failures()
    with exit_codes():
        from keyfpn.detector.model import open_model

        from . import run
        from .pipeline import Edge

        source = run.find_source(inputs or [], camera or [], failures)
        edge = Edge(open_model(detector, weights), codec, precision=precision, device=device)
        run.encode(source, edge, failures, out=out, as_json=as_json)
    failures.exit()


@app.command(
    epilog="Example: keyfpn-edge send photos/ --server 192.168.0.7:50051 --coco results.json --draw drawn/\n\n"
    f"{EXIT_CODES}; 3 the server is not there, holds another model, or went away; 130 ended by Ctrl-C. What was "
    "answered before is kept."
)
def send(
    inputs: _Inputs = None,
    *,
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where `keyfpn-server serve` listens.")],
    camera: _Camera = None,
    coco: Coco = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one JSON object per frame here, as --json prints them.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pictures here with boxes of score 0.5 and above.")
    ] = None,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    codec: _Codec = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Stream pictures, videos or a camera to a server, and print what it detects as it comes.

    The server is asked first: nothing is sent to one without the same model and codec. A frame's id is its
    picture's file name where that is a number, as COCO's are; else a running number.
    """
    failures = Failures()
    with exit_codes({ServerError: SERVER}):
        from keyfpn.detector.model import open_model

        from . import run
        from .outputs import ResultFiles

        source = run.find_source(inputs or [], camera or [], failures)
        run.send(
            source,
            open_model(detector, weights),
            codec,
            failures,
            server=server,
            files=ResultFiles(coco=coco, jsonl=jsonl, drawings=draw),
            precision=precision,
            device=device,
            as_json=as_json,
        )
    failures.exit()


@app.command(
    epilog="Example: keyfpn-edge inspect packets/000000000139.kfpn\n\nExit codes: 0 a good packet; 1 a missing or "
    "corrupt one; 2 wrong usage, or a model that cannot be used."
)
def inspect(
    packet: Annotated[Path, typer.Argument(metavar="PACKET", help="A packet file.")],
    *,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Show what is in a packet.

    Only with the packet's own model are the shapes of its levels known, and how those are rebuilt that are not sent.
    """
    with exit_codes():
        with packet.open("rb") as file:
            data = file.read(DEFAULT_LIMITS.max_packet_bytes + 1)
        try:
            parsed = Packet.parse(data)
            from keyfpn.detector.model import open_model

            from . import run

            run.inspect(packet, parsed, len(data), open_model(detector, weights), as_json=as_json)
        except ProtocolError as error:
            exits.fail(f"{packet}: {error}", FAILED)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code.

    Args:
        arguments: of the command line; by default the process's own.
    """
    exits.run(app, "keyfpn-edge", arguments)


if __name__ == "__main__":
    main()
