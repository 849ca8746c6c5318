"""A trained detector as a model folder that ``keyfpn.detector.model.open_model`` opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.torch.publish import write_detector
from keyfpn.protocol.detections import LabelMap
from keyfpn.training.engine.folder import CARD, whole_folder


def publish(
    network: nn.Module,
    config: str,
    labels: LabelMap,
    folder: Path,
    *,
    name: str,
    describe: Callable[[Model], str],
) -> None:
    """Write config, weights, manifest and model card.

    Args:
        network: the trained detector.
        config: its config, from :func:`~keyfpn.detector.torch.config.portable_config`.
        labels: what its outputs mean.
        folder: where to; appears whole, in the place of one that was there.
        name: for the manifest.
        describe: makes the model card's text; gets the model as it was written, so that it can be measured.
    """
    with whole_folder(folder) as partial:
        write_detector(partial, config, half_precision(network.state_dict()), labels)
        replace(Manifest.of_folder(partial), name=name).write(partial)
        (partial / CARD).write_text(describe(open_model(partial)))


def half_precision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in float16; BatchNorm statistics, whose range is wide, stay as they are."""
    return {
        name: (value if "running_" in name or not value.is_floating_point() else value.half()).cpu()
        for name, value in state.items()
    }
