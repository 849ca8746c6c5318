"""Models that have all that a codec reads, and no network."""

from __future__ import annotations

from pathlib import Path

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.prepare import Preprocessor
from keyfpn.detector.pyramid import Pyramid
from keyfpn.reconstruct.key_levels.parameters import Parameters

CHANNELS = 8


def bare(pyramid: Pyramid) -> Model:
    """A config with weights, of which nothing is read."""
    return Model("bare", "none", Path("none"), Manifest("bare"), None, pyramid, Preprocessor(384, 640, "RGB"))


def published(folder: Path, parameters: Parameters) -> Model:
    """A model folder with fitted parameters, published (again) and opened."""
    folder.mkdir(exist_ok=True)
    fpn = f"{{IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: {CHANNELS}}}"
    (folder / "config.yaml").write_text(f"MODEL: {{FPN: {fpn}}}\n")
    parameters.write(folder)
    Manifest.of_folder(folder).write(folder)
    return open_model(folder)
