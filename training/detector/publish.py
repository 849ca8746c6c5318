"""A trained detector as a model folder that ``keyfpn.detector.model.open_model`` opens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from keyfpn.protocol.detections import LabelMap
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.publish import publish_detector, write_detector
from keyfpn.protocol.latent import LatentModel
from keyfpn.reconstruct.learned.files import FOLDER as CODEC_FOLDER
from keyfpn.reconstruct.learned.weights import write_codec
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.network.codec import FOLDER as NETWORK_FOLDER
from keyfpn.reconstruct.network.network import ReconstructionNetwork
from keyfpn.reconstruct.network.rebuilder import write_network

CARD = "README.md"


def publish(
    network: nn.Module,
    config: str,
    classes: LabelMap,
    folder: Path,
    *,
    name: str,
    device: str,
    describe: Callable[[Model], str],
) -> None:
    """Write config, weights, manifest and model card.

    Args:
        network: the trained detector.
        config: its config, from :func:`~keyfpn.detector.torch.config.portable_config`.
        classes: what its outputs mean.
        folder: where to; appears whole, in the place of one that was there.
        name: for the manifest.
        device: where ``describe`` gets the model.
        describe: makes the model card's text; gets the model as it was written, so that it can be measured.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_detector(partial, config, half_precision(network.state_dict()), classes)
    replace(Manifest.of_folder(partial), name=name).write(partial)
    (partial / CARD).write_text(describe(open_model(str(partial), device=device)))
    _put_in_place(partial, folder)


def publish_codec(
    model: Model, codec: CodecNetwork, entropy_models: Sequence[LatentModel], card: str, folder: Path
) -> None:
    """Write a detector and its learned codec as a model folder, in the place of one that was there.

    Args:
        model: the detector, with all other files of its own folder if it has one.
        codec: trained for it.
        entropy_models: of the codec's latents.
        card: the codec's model card.
        folder: where to; appears whole.
    """
    with _published_anew(model, folder, CODEC_FOLDER) as partial:
        write_codec(partial, codec, entropy_models)
        (partial / CODEC_FOLDER / CARD).write_text(card)


def publish_network(model: Model, network: ReconstructionNetwork, folder: Path) -> None:
    """Write a detector and its reconstruction network as a model folder, as :func:`publish_codec` does."""
    with _published_anew(model, folder, NETWORK_FOLDER) as partial:
        write_network(partial, network)


@contextmanager
def _published_anew(model: Model, folder: Path, without: str) -> Iterator[Path]:
    """Copy a model, less one part of it, into a folder that appears with a new manifest when the block ends."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if model.folder is None:
        publish_detector(model, partial)
    else:
        shutil.copytree(model.folder, partial, ignore=shutil.ignore_patterns(without, ".*"))
    yield partial
    replace(Manifest.of_folder(partial), name=folder.absolute().name).write(partial)
    _put_in_place(partial, folder)


def half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in float16; BatchNorm statistics, whose range is wide, stay as they are."""
    return {
        name: (value if "running_" in name or not value.is_floating_point() else value.half()).cpu()
        for name, value in state.items()
    }


def _put_in_place(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
