"""The command `keyfpn-train`: trains what keyfpn runs on."""

from __future__ import annotations

import warnings

import typer

from keyfpn.console.exits import Version, run

from .codecs.learned.command import HELP as CODEC_HELP
from .codecs.learned.command import codec
from .codecs.levels.command import HELP as FIT_HELP
from .codecs.levels.command import fit
from .codecs.network.command import HELP as NETWORK_HELP
from .codecs.network.command import network
from .detector.command import HELP as DETECTOR_HELP
from .detector.command import detector

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _all_commands(version: Version = False) -> None:
    """Trains what keyfpn runs on."""


app.command(help=DETECTOR_HELP)(detector)
app.command(help=CODEC_HELP)(codec)
app.command(help=NETWORK_HELP)(network)
app.command(help=FIT_HELP)(fit)


def main() -> None:
    """Entry point."""
    warnings.filterwarnings("ignore", category=UserWarning, module="detectron2|torch")
    run(app, "keyfpn-train")
