"""The command `keyfpn-train`: trains what keyfpn runs on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from detector import BUNDLED

from .codec_recipe import CodecRecipe
from .recipe import Recipe

if TYPE_CHECKING:
    from .loop import Ending

# torch and detectron2 take seconds to import: what needs them is imported where it is used.

FAILED, INTERRUPTED = 2, 130
"""Exit codes: training cannot start or go on; Ctrl-C, as shells have it."""

app = typer.Typer(
    help="Trains what keyfpn runs on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


_DETECTOR_HELP = """Train a detector on pictures with boxes.

\b
Train the bundled detector from a MobileNetV2 backbone:
  keyfpn-train detector --images coco/train --annotations coco/instances_train.json \\
      --init-backbone mobilenetv2_coco_ssd_backbone.safetensors --out runs/detector

\b
The folder of the run gets
  log.jsonl      loss and learning rate of each step, AP of each evaluation
  loss.png       the same, drawn
  checkpoint.pt  every two minutes and at the end
  settings.json  the recipe, and the hashes of config, data and initial weights
  model/         the detector, ready to be run

Ctrl-C ends the run with a checkpoint; the same command with --resume goes on, step for step as if it had never
stopped.

Exit codes: 0 done, or out of --minutes; 2 wrong usage, or training cannot go on; 130 interrupted.
"""


@app.command(help=_DETECTOR_HELP)
def detector(
    *,
    images: Annotated[Path, typer.Option(metavar="DIR", help="The training pictures.")],
    annotations: Annotated[Path, typer.Option(metavar="FILE", help="Their boxes, in COCO's JSON.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run's own folder.")],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="A detectron2 config: a YAML file, a bundled model or a zoo name.  [default: the bundled model's]",
        ),
    ] = None,
    init_backbone: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from these weights of torchvision's mobilenet_v2().features."),
    ] = None,
    init_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from these weights of a whole detector.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.")] = Recipe.steps,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop training after this time, and publish what there is.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = Recipe.batch,
    holdout: Annotated[
        int, typer.Option(min=1, help="Pictures kept out of training, to evaluate on.")
    ] = Recipe.holdout,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps from one evaluation to the next.")] = 500,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Precision of convolutions and matrix products.")
    ] = Recipe.precision,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = Recipe.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    with _user_errors():
        from detector.coco import CocoData

        from .detector import DetectorTraining, initial_network, read_training_config
        from .loop import MODEL, TrainingLoop

        recipe = Recipe(steps=steps, batch=batch, holdout=holdout, precision=precision, seed=seed)
        cfg = read_training_config(config, device)
        data = CocoData(images, annotations)
        network = initial_network(cfg, seed=seed, init_backbone=init_backbone, init_weights=init_weights)
        task = DetectorTraining(network, cfg, data, recipe)
        files = {"annotations": annotations, "init_backbone": init_backbone, "init_weights": init_weights}
        loop = TrainingLoop(
            task,
            out,
            {"task": "detector", **asdict(recipe), **_hashes(task.config, files)},
            steps=steps,
            batch=batch,
            seed=seed,
            evaluate_every=evaluate_every,
            console=Console(stderr=True),
        )
        ending = loop.run(resume=resume, minutes=minutes)
    _say_ending(ending, task.state.step, steps, f"The detector is in {out / MODEL}.")


_CODEC_HELP = """Train a learned codec for a detector, on pictures without labels.

\b
An hour for the bundled detector:
  keyfpn-train codec --images coco/train --minutes 60 --out runs/codec
Detect with what came of it:
  keyfpn-edge encode picture.jpg --detector runs/codec/model --codec learned:quality=5 --out packets

\b
The folder of the run gets
  log.jsonl      rate, distortion and learning rate of each step, bytes and agreement of each evaluation
  loss.png       the same, drawn
  checkpoint.pt  every two minutes and at the end
  settings.json  the recipe, and the hashes of detector and pictures' names
  model/         the detector and its codec, ready to be run

Agreement is AP against the unsplit detector's own boxes, on pictures held out of training. Ctrl-C ends the run with a
checkpoint; the same command with --resume goes on.

Exit codes: 0 done, or out of --minutes; 2 wrong usage, or training cannot go on; 130 interrupted.
"""


@app.command(help=_CODEC_HELP)
def codec(
    *,
    images: Annotated[Path, typer.Option(metavar="DIR", help="Training pictures.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The run's own folder.")],
    detector: Annotated[
        str, typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config.")
    ] = BUNDLED,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a config: .safetensors, .pth or a zoo .pkl.")
    ] = None,
    init_codec: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Start from the codec in this model folder.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.")] = CodecRecipe.steps,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop training after this time, and publish what there is.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Crops per step.")] = CodecRecipe.batch,
    holdout: Annotated[
        int, typer.Option(min=1, help="Pictures kept out of training, to evaluate on.")
    ] = CodecRecipe.holdout,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps from one evaluation to the next.")] = 1000,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="Precision of convolutions and matrix products.")
    ] = CodecRecipe.precision,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of the transforms.")] = CodecRecipe.learning_rate,
    feature_weight: Annotated[
        float, typer.Option(min=0, help="Of the features' squared error in the distortion.")
    ] = CodecRecipe.feature_weight,
    rpn_weight: Annotated[
        float, typer.Option(min=0, help="Of the RPN's view in the distortion.")
    ] = CodecRecipe.rpn_weight,
    box_weight: Annotated[
        float, typer.Option(min=0, help="Of the box head's view in the distortion.")
    ] = CodecRecipe.box_weight,
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = CodecRecipe.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    with _user_errors():
        import torch

        from detector.model import open_detector
        from detector.pictures import find_pictures

        from .codec import CodecTraining
        from .loop import MODEL, TrainingLoop

        torch.set_flush_denormal(True)  # gradients of rare symbols are denormal: several times slower on CPUs
        recipe = CodecRecipe(
            steps=steps,
            batch=batch,
            holdout=holdout,
            precision=precision,
            learning_rate=learning_rate,
            feature_weight=feature_weight,
            rpn_weight=rpn_weight,
            box_weight=box_weight,
            seed=seed,
        )
        model = open_detector(detector, weights, device=device)
        pictures = find_pictures([images])
        task = CodecTraining(model, pictures, recipe, init_codec)
        names = "\n".join(path.name for path in pictures)
        loop = TrainingLoop(
            task,
            out,
            {
                "task": "codec",
                **asdict(recipe),
                "detector": model.fingerprint.hex(),
                "init_codec": None if init_codec is None else open_detector(str(init_codec)).fingerprint.hex(),
                **_hashes(names, {}),
            },
            steps=steps,
            batch=batch,
            seed=seed,
            evaluate_every=evaluate_every,
            console=Console(stderr=True),
        )
        ending = loop.run(resume=resume, minutes=minutes)
    _say_ending(ending, task.state.step, steps, f"The codec is in {out / MODEL}.")


_FIT_HELP = """Fit to a detector what the codecs raw and interpolate need, and publish both as a model folder.

\b
Publish the zoo's X101, with ranges and mixes fitted to 300 of your pictures:
  keyfpn-train fit --detector COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x --weights model_final_68b088.pkl \\
      --images train2017 --out models/x101

\b
The folder gets
  config.yaml, detector.safetensors, classes.json  the detector
  ranges.safetensors  the clip of each channel of least squared error, for 2 to 8 bits
  mixes.json          the weights of a level between two others, by least squares
  manifest.json       the hash of each file; its own hash is the fingerprint in every packet

Pictures need no labels; take them from training data, not from what you measure on. --out may be the model's own
folder: then only the fitted files and the manifest are new, and edge and server both need them.

Exit codes: 0 done; 2 wrong usage, or files that cannot be used.
"""


@app.command(help=_FIT_HELP)
def fit(
    *,
    images: Annotated[Path, typer.Option(metavar="DIR", help="Training pictures.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write.")],
    detector: Annotated[
        str, typer.Option(metavar="NAME|DIR|CONFIG", help="A published model, or with --weights a detectron2 config.")
    ] = BUNDLED,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a config: .safetensors, .pth or a zoo .pkl.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="How many pictures, evenly from the sorted folder.")] = 300,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the backbone runs.")] = "cpu",
) -> None:
    with _user_errors():
        from rich.progress import track

        from detector.model import open_detector
        from detector.pictures import find_pictures

        from .fit import fit_parameters, publish

        model = open_detector(detector, weights, device=device)
        found = find_pictures([images])
        chosen = found[:: max(1, len(found) // pictures)][:pictures]
        parameters = fit_parameters(model, track(chosen, "fitting", console=Console(stderr=True)))
        manifest = publish(model, parameters, out)
    for (level, finer, coarser), (a, b) in parameters.mixes.items():
        typer.echo(f"{level} = {a} * up({coarser}) + {b} * down({finer})")
    typer.echo(f"The model is in {out}, fingerprint {manifest.fingerprint.hex()}.")


def main() -> None:
    """Entry point."""
    warnings.filterwarnings("ignore", category=UserWarning, module="detectron2|torch")
    app()


def _say_ending(ending: Ending, step: int, steps: int, done: str) -> None:
    if ending.name == "INTERRUPTED":
        typer.echo(f"Interrupted at step {step} of {steps}. Add --resume to go on.")
        raise typer.Exit(INTERRUPTED)
    more = f" Time is up at step {step} of {steps}: add --resume to go on." if ending.name == "TIME" else ""
    typer.echo(done + more)


def _hashes(config: str, files: dict[str, Path | None]) -> dict[str, str]:
    from detector.manifest import Manifest

    given = {name: path for name, path in files.items() if path is not None}
    return dict(Manifest.of_files("settings", given, contents={"config": config.encode()}).hashes)


@contextmanager
def _user_errors() -> Iterator[None]:
    from detector.errors import ModelError, PictureError

    from .errors import TrainingError

    try:
        yield
    except (ModelError, PictureError, TrainingError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(FAILED) from error
