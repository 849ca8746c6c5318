"""The command `keyfpn-server`: `serve` answers edges over gRPC, `decode` answers packets in files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from keyfpn.detector import BUNDLED
from keyfpn.detector.errors import ModelError
from keyfpn.protocol.errors import ConfigurationError

from .address import check_address
from .errors import ListenError, PacketFileError

# Commands import `run` and `report`, and so torch, only when they need them: seconds that --help need not take.

_FAILED, _USAGE = 1, 2

app = typer.Typer(
    help="The server of keyfpn: rebuilds feature pyramids from packets and finishes detection.",
    no_args_is_help=True,
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
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The weights of a config: .safetensors, .pth or a zoo .pkl.")
]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Precision of convolutions and matrix products.")]
Device = Annotated[str, typer.Option(help="Where to compute, as torch names devices, such as cuda.")]
MaxSide = Annotated[
    int | None,
    typer.Option(
        min=32,
        metavar="PIXELS",
        show_default="what the models' own resizing gives",
        help="Accept network inputs of up to this height and width, and packets as large as these can give.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, for machines.")]


@app.command(
    epilog="Example: keyfpn-server serve --host 0.0.0.0 --port 50051 --precision bf16\n\n"
    "Exit codes: 0 stopped by SIGTERM or SIGINT, frames in flight answered; 1 the address cannot be listened on; "
    "2 wrong usage, or a model that cannot be used."
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
    with _user_errors():
        check_address(host, port)
        from . import report, run

        pipeline = run.build_pipeline(detector, weights, precision=precision, device=device, max_side=max_side)
        run.serve(pipeline, host, port, report.choose(as_json), threads=threads)


@app.command(
    epilog="Example: keyfpn-server decode packets/ --coco results.json --pictures photos/ --out drawn/\n\n"
    "Exit codes: 0 all done; 1 some packets failed, each named on stderr; "
    "2 wrong usage, or a model that cannot be used."
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
    coco: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write COCO results here; image_id is the packet's frame id.")
    ] = None,
    precision: Precision = "fp32",
    device: Device = "cpu",
    max_side: MaxSide = None,
    as_json: Json = False,
) -> None:
    """Answer packets in files, without a network."""
    with _user_errors():
        if (out is None) != (pictures is None):
            raise ConfigurationError("--out and --pictures go together: boxes are drawn into the original pictures")
        if coco is not None and not coco.parent.is_dir():
            raise ConfigurationError(f"{coco}: there is no folder {coco.parent} to write it to")
        from . import report, run

        pipeline = run.build_pipeline(detector, weights, precision=precision, device=device, max_side=max_side)
        failed = run.decode(pipeline, packets, report.choose(as_json), coco=coco, pictures=pictures, drawn=out)
    if failed:
        raise typer.Exit(_FAILED)


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    app()


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turns what the person at the command line can mend into a line on stderr and an exit code."""
    try:
        yield
    except (ModelError, ConfigurationError, PacketFileError) as error:
        code, message = _USAGE, str(error)
    except ListenError as error:
        code, message = _FAILED, str(error)
    except OSError as error:
        code, message = _FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)
