"""The command `keyfpn-train fit`: ranges and mixes of the codecs `raw` and `interpolate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyfpn.console.exits import EXIT_CODES, exit_codes
from keyfpn.console.options import Detector, Device, Weights
from keyfpn.console.progress import track
from keyfpn.detector import BUNDLED
from keyfpn.training.engine.errors import TrainingError

# torch and detectron2 take seconds to import: what needs them is imported where it is used.
if TYPE_CHECKING:
    from keyfpn.detector.model import Model
    from keyfpn.reconstruct.key_levels.parameters import Mix, Parameters

    from .fit import MixedLevel

HELP = f"""Fit to a detector what the codecs raw and interpolate need, and publish both as a model folder.

\b
Publish the zoo's X101, with ranges and mixes fitted to 300 of your pictures:
  keyfpn-train fit --detector COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x --weights model_final_68b088.pkl \\
      --images train2017 --out models/x101

\b
Put another mix of p4 from p3 and p5 in place of the fitted one, such as the winner of keyfpn-bench levels:
  keyfpn-train fit --detector models/x101 --mix p4=0.3224,0.9369 --out models/x101

\b
The folder gets
  all files of --detector, where it is a model folder; else its config, weights and classes
  ranges.safetensors  the clip of each channel of least squared error, for 2 to 8 bits
  mixes.json          the weights of a level between two others, by least squares or as --mix says
  manifest.json       the hash of each file; its own hash is the fingerprint in every packet

Pictures need no labels; take them from training data, not from what you measure on. --out may be the model's own
folder: then only the fitted files and the manifest are new, and edge and server both need them.

{EXIT_CODES}; 130 interrupted.
"""

Mixes = Annotated[
    list[str] | None,
    typer.Option(
        "--mix",
        metavar="LEVEL=A,B",
        help="Rebuild a level from its two neighbours as A * up(coarser) + B * down(finer); p3, p4 or p5, each once.",
    ),
]


def fit(
    *,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The pictures to fit to; with --mix, only where nothing was yet.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write.")],
    mix: Mixes = None,
    detector: Detector = BUNDLED,
    weights: Weights = None,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures, evenly from the sorted folder.")] = 300,
    device: Device = "cpu",
) -> None:
    """Fit and publish; registered with :data:`HELP`."""
    with exit_codes():
        from keyfpn.detector.model import open_model

        from .fit import parse_mixes, publish_parameters

        model = open_model(detector, weights)
        mixes = parse_mixes(mix or (), model.pyramid.levels)
        parameters = _parameters(model, images, pictures, device, mixes)
        manifest = publish_parameters(model, parameters, out)
    for (level, finer, coarser), (a, b) in parameters.mixes.items():
        typer.echo(f"{level} = {a} * up({coarser}) + {b} * down({finer})")
    typer.echo(f"The model is in {out}, fingerprint {manifest.fingerprint.hex()}.")


def _parameters(
    model: Model, images: Path | None, pictures: int, device: str, mixes: Mapping[MixedLevel, Mix]
) -> Parameters:
    """Fitted to pictures, or as the model has them; in both cases with the mixes that were asked for."""
    from keyfpn.detector.prepare import find_pictures
    from keyfpn.reconstruct.key_levels.parameters import Parameters

    from .fit import fit_parameters

    if images is not None:
        found = find_pictures([images])
        chosen = found[:: max(1, len(found) // pictures)][:pictures]
        parameters = fit_parameters(model, track(chosen, len(chosen), "fitting", lines=False), device)
    else:
        parameters = Parameters.of(model)
        if not mixes:
            raise TrainingError("keyfpn-train fit", "--images to fit to, or --mix", "neither")
        if not parameters.ranges:
            hint = "Give --images as well: nothing was fitted to this model yet."
            raise TrainingError(f"model {model.name}", "ranges and mixes that were fitted before", "none", hint)
    return replace(parameters, mixes={**parameters.mixes, **mixes})
