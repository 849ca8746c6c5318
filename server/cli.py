"""The command `keyfpn-server`: `serve` answers edges over gRPC, `decode` answers packets in files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from keyfpn.console import exits
from keyfpn.console.exits import EXIT_CODES, FAILED, Version, exit_codes
from keyfpn.console.options import Coco, Device, Json, Precision, Weights
from keyfpn.detector import BUNDLED
from keyfpn.protocol.errors import ConfigurationError

from .address import check_address
from .errors import ListenError

# Commands import what computes, and so torch, only when they need it: seconds that --help need not take.

app = typer.Typer(
    help="The server of keyfpn: rebuilds feature pyramids from packets and finishes detection.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Detectors = Annotated[
    list[str],
    typer.Option(
        "--detector",
        metavar="NAME|DIR|CONFIG",
        default_factory=lambda: [BUNDLED],
        show_default="the bundled model",
        help="A published model to hold; repeatable. With --weights one detectron2 config.",
    ),
]
MaxSide = Annotated[
    int | None,
    typer.Option(
        min=32,
        metavar="PIXELS",
        show_default="what the models' own resizing gives",
        help="Accept network inputs of up to this height and width, and packets as large as these can give.",
    ),
]


@app.callback()
def keyfpn_server(*, version: Version = False) -> None:
    """The server of keyfpn: rebuilds feature pyramids from packets and finishes detection."""


@app.command(
    epilog="Example: keyfpn-server serve --host 0.0.0.0 --port 50051 --precision bf16\n\n"
    f"{EXIT_CODES}. Here 0 means stopped by SIGTERM or SIGINT, with the frames in flight answered; 1 that the address "
    "cannot be listened on."
)
def serve(
    *,
    detector: Detectors,
    weights: Weights = None,
    host: Annotated[str, typer.Option(help="Name or address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 50051,
    precision: Precision = "fp32",
    device: Device = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, show_default="one per core", help="CPU threads to compute with.")
    ] = None,
    max_side: MaxSide = None,
    as_json: Json = False,
) -> None:
    """Answer edges over gRPC until told to stop.

    Prints a line once edges can connect, and one for every stream that ends.

    Nothing is encrypted, and nobody is asked who they are: listen on a network that you trust.
    """
    with exit_codes({ListenError: FAILED}):
        check_address(host, port)
        from . import run
        from .held import HeldModels, limits_for
        from .observe.lines import JsonLines, TextLines

        models = run.open_models(detector, weights)
        held = HeldModels(models, limits_for(models, max_side))
        observer = JsonLines() if as_json else TextLines()
        run.serve(held, host, port, observer=observer, precision=precision, device=device, threads=threads)


@app.command(
    epilog="Example: keyfpn-server decode packets/ --coco results.json --pictures photos/ --out drawn/\n\n"
    f"{EXIT_CODES}."
)
def decode(
    packets: Annotated[list[Path], typer.Argument(metavar="PACKETS", help="Packet files, or folders of *.kfpn.")],
    *,
    detector: Detectors,
    weights: Weights = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write annotated pictures here; needs --pictures.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="The original pictures, named like the packets."
        ),
    ] = None,
    coco: Coco = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    max_side: MaxSide = None,
    as_json: Json = False,
) -> None:
    """Answer packets in files, without a network."""
    with exit_codes():
        if (out is None) != (pictures is None):
            found = "--out" if pictures is None else "--pictures"
            hint = "Boxes are drawn into the original pictures."
            raise ConfigurationError("--out and --pictures", "both or neither", f"{found} alone", hint)
        from . import run
        from .decode_report import JsonReport, TableReport
        from .held import limits_for
        from .pipeline import Server

        models, report = run.open_models(detector, weights), JsonReport() if as_json else TableReport()
        server = Server(models, precision=precision, device=device, limits=limits_for(models, max_side))
        run.decode(server, packets, report, coco=coco, pictures=pictures, drawn=out)
        report.failures.exit()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code.

    Args:
        arguments: of the command line; by default the process's own.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s")
    exits.run(app, "keyfpn-server", arguments)
