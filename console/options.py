"""The options that several commands have: the same name, the same words, the same meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Detector = Annotated[
    str,
    typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config."),
]
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The weights of a config: .safetensors, .pth or a zoo .pkl.")
]
Precision = Annotated[Literal["fp32", "bf16"], typer.Option(help="Precision of convolutions and matrix products.")]
Device = Annotated[str, typer.Option(help="Where to compute, as torch names devices: cpu, cuda, cuda:1.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines, for machines.")]
Coco = Annotated[Path | None, typer.Option(metavar="FILE", help="Write COCO results here; image_id is the frame id.")]
