"""The command `keyfpn-edge`: `encode` writes packets, `send` streams them to a server, `inspect` takes one apart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from keyfpn.detector import BUNDLED
from keyfpn.protocol.errors import ProtocolError
from keyfpn.protocol.limits import DEFAULT_LIMITS
from keyfpn.protocol.packet import Packet

from .exits import FAILED, USAGE, Failures, exit_codes, fail, print_error

# Commands import `run`, and so torch, when they run: --help and mistyped options need not wait seconds for that.
_EXIT_CODES = (
    "Exit codes: 0 all done; 1 some inputs failed, each named on stderr; 2 wrong usage, or a model or codec that "
    "cannot be used"
)

app = typer.Typer(
    help="The edge of keyfpn: from pictures to packets of key pyramid levels.",
    add_completion=False,
    rich_markup_mode=None,  # help has brackets in it, which are no markup
    pretty_exceptions_enable=False,
)

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
_Detector = Annotated[
    str,
    typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config."),
]
_Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The weights of a config: .safetensors, .pth or a zoo .pkl.")
]
_Codec = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:KEY=VALUE,...]",
        help="How features travel, such as learned:quality=3 or interpolate:levels=p3+p5,precision=int4.  "
        "[default: learned where the model has it, else interpolate]",
    ),
]
_Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Precision of the network's convolutions.")]
_Device = Annotated[str, typer.Option(help="Where the network runs, as torch names devices: cpu, cuda, cuda:1.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, for machines.")]


@app.command(epilog=f"Example: keyfpn-edge encode photos/ --out packets/\n\n{_EXIT_CODES}.")
def encode(
    inputs: _Inputs = None,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the packets here, as NAME.kfpn.")],
    camera: _Camera = None,
    detector: _Detector = BUNDLED,
    weights: _Weights = None,
    codec: _Codec = None,
    precision: _Precision = "fp32",
    device: _Device = "cpu",
    as_json: _Json = False,
) -> None:
    """Encode pictures into packets, one file each.

    A packet's frame id is its picture's file name where that is a number, as COCO's are; else a running number.
    """
    failures = Failures()
    with exit_codes():
        from keyfpn.detector.model import open_detector

        from . import run

        source = run.find_source(inputs or [], camera or [], failures)
        model = open_detector(detector, weights, device=device)
        run.encode(source, model, codec, failures, out=out, precision=precision, as_json=as_json)
    failures.exit()


@app.command(
    epilog="Example: keyfpn-edge send photos/ --server 192.168.0.7:50051 --coco results.json --draw drawn/\n\n"
    f"{_EXIT_CODES}; 3 the server is not there, holds another model, or went away; 130 ended by Ctrl-C. What was "
    "answered before is kept."
)
def send(
    inputs: _Inputs = None,
    *,
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where `keyfpn-server serve` listens.")],
    camera: _Camera = None,
    coco: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write COCO results here; image_id is the frame id.")
    ] = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one JSON object per frame here, as --json prints them.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the pictures here with boxes of score 0.5 and above.")
    ] = None,
    detector: _Detector = BUNDLED,
    weights: _Weights = None,
    codec: _Codec = None,
    precision: _Precision = "fp32",
    device: _Device = "cpu",
    as_json: _Json = False,
) -> None:
    """Stream pictures, videos or a camera to a server, and print what it detects as it comes.

    The server is asked first: nothing is sent to one that has not the same model and codec. A frame's id is its
    picture's file name where that is a number, as COCO's are; else a running number.
    """
    failures = Failures()
    with exit_codes():
        from keyfpn.detector.model import open_detector

        from . import run

        source = run.find_source(inputs or [], camera or [], failures)
        model = open_detector(detector, weights, device=device)
        run.send(
            source,
            model,
            codec,
            failures,
            server=server,
            coco=coco,
            jsonl=jsonl,
            draw=draw,
            precision=precision,
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
    detector: _Detector = BUNDLED,
    weights: _Weights = None,
    as_json: _Json = False,
) -> None:
    """Show what is in a packet.

    Only with the packet's own model are the shapes of its levels known, and how those are rebuilt that are not sent.
    """
    with exit_codes():
        try:
            with packet.open("rb") as file:
                data = file.read(DEFAULT_LIMITS.max_packet_bytes + 1)
            parsed = Packet.parse(data)
            from keyfpn.detector.model import open_detector

            from . import run

            run.inspect(packet, parsed, len(data), open_detector(detector, weights), as_json=as_json)
        except ProtocolError as error:
            fail(f"{packet}: {error}", FAILED)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code.

    Args:
        arguments: of the command line; by default the process's own.
    """
    try:
        sys.exit(app(arguments, prog_name="keyfpn-edge", standalone_mode=False))
    except typer.TyperException as error:
        print_error(f"{error.format_message()} See keyfpn-edge --help.")
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
