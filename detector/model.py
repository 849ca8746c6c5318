"""What a detector is on disk: a config, weights and a manifest whose hash is the fingerprint in every packet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from keyfpn.protocol.detections import LabelMap
from keyfpn.protocol.geometry import Geometry

from . import BUNDLED
from .errors import ModelError
from .labels import FILE as LABELS_FILE
from .labels import labels_of_data, parse_labels
from .manifest import Manifest
from .prepare import Preprocessor
from .pyramid import Pyramid

MODELS = Path(__file__).resolve().parent.parent / "models"
CONFIG_FILE, WEIGHTS_FILE = "config.yaml", "detector.safetensors"
# detectron2's own values of what a published config may leave out.
_DEFAULT_INPUT = {"MIN_SIZE_TEST": 800, "MAX_SIZE_TEST": 1333, "FORMAT": "BGR"}
_DEFAULT_FPN = {"OUT_CHANNELS": 256}


@dataclass(frozen=True, eq=False)
class Model:
    """A detector's files, checked; ``keyfpn.detector.torch.network.build_network`` makes the network.

    Attributes:
        name: of the folder, or of the config.
        config: where detectron2 finds it: a YAML file, or a name of its model zoo.
        weights: the file.
        manifest: names and hashes of all files that both ends must agree on.
        folder: the published model folder, which holds codec files too; None for a bare config with weights.
        pyramid: the levels of the detector's FPN.
        preprocessor: what resizes pictures for the detector.
    """

    name: str
    config: str
    weights: Path
    manifest: Manifest
    folder: Path | None
    pyramid: Pyramid
    preprocessor: Preprocessor

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that tell this model from any other."""
        return self.manifest.fingerprint

    @cached_property
    def labels(self) -> LabelMap:
        """The meaning of each class index, from the model folder, or else from detectron2's data of the config.

        Raises:
            ModelError: ``classes.json`` is malformed.
        """
        if LABELS_FILE in self.manifest.hashes:
            return parse_labels(self.read(LABELS_FILE), str(self.folder))
        # A model that was published before classes.json was part of it: a client without torch must know it too.
        labels = labels_of_data(yaml.safe_load(self.read(CONFIG_FILE))) if self.folder else None
        if labels:
            return labels
        from .torch.config import labels_of_config, read_config  # detectron2 knows the names of its own data sets

        return labels_of_config(read_config(self.config))

    def geometry(self, network_size: tuple[int, int]) -> Geometry:
        """The sizes of every level for a picture of ``network_size`` (height, width), before padding."""
        return self.pyramid.geometry(network_size)

    def published_with(self, *names: str) -> bool:
        """Whether all these files belong to the model; this copy may lack some, as an edge lacks what servers need."""
        return self.folder is not None and all(name in self.manifest.hashes for name in names)

    def has(self, *names: str) -> bool:
        """Whether the model was published with all these files, and this copy of it has them."""
        return self.published_with(*names) and all((self.folder / name).is_file() for name in names if self.folder)

    def read(self, name: str) -> bytes:
        """The content of a published file, checked against the manifest.

        Raises:
            ModelError: there is no such file, or it is not the one that was published.
        """
        if self.folder is None:
            raise ModelError(self.name, f"a published model with {name}", "a bare config with weights")
        return self.manifest.read_file(self.folder, name)


def open_model(detector: str | Path = BUNDLED, weights: str | Path | None = None) -> Model:
    """Find a detector and check its files; the network is not built, and torch not needed, for a published model.

    >>> model = open_model()
    >>> model.name, model.pyramid.levels
    ('mobilenetv2_fpn128_coco80', ('p2', 'p3', 'p4', 'p5', 'p6'))

    Args:
        detector: a published model (its name under ``models/`` or its folder), or with ``weights`` a config: a YAML
            file or a name of detectron2's model zoo such as ``COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x``.
        weights: the weights of a bare config.

    Raises:
        ModelError: there is no such model or config, or a published file was changed.
    """
    if weights is None:
        return _open_published(str(detector))
    from .torch.config import portable_config, read_config

    weights, config = Path(weights), str(detector)
    if not weights.is_file():
        raise ModelError(str(weights), "a weights file", "none of that name")
    cfg = read_config(config)
    contents = {"config": portable_config(cfg).encode()}
    manifest = Manifest.of_files(name=Path(config).stem, contents=contents, files={"weights": weights})
    pyramid, preprocessor = Pyramid.of_config(cfg), Preprocessor.of_config(cfg)
    return Model(Path(config).stem, config, weights, manifest, None, pyramid, preprocessor)


def _open_published(detector: str) -> Model:
    folder = next((path for path in (Path(detector), MODELS / detector) if path.is_dir()), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in MODELS.glob("*/manifest.json"))) or "none"
        expected = f"a model folder, a bundled model ({known}), or a config together with its weights"
        raise ModelError(f"model {detector!r}", expected, "none of these")
    manifest = Manifest.read(folder)
    pyramid, preprocessor = _read_config(folder / CONFIG_FILE, manifest.read_file(folder, CONFIG_FILE))
    name, config, weights = folder.resolve().name, str(folder / CONFIG_FILE), folder / WEIGHTS_FILE
    return Model(name, config, weights, manifest, folder, pyramid, preprocessor)


def _read_config(path: Path, data: bytes) -> tuple[Pyramid, Preprocessor]:
    """What edge and server need to know of a published config, without detectron2."""
    try:
        document = yaml.safe_load(data)
        settings = {
            "INPUT": _DEFAULT_INPUT | document.get("INPUT", {}),
            "MODEL": {"FPN": _DEFAULT_FPN | document["MODEL"].get("FPN", {})},
        }
        return Pyramid.of_config(settings), Preprocessor.of_config(settings)
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(str(path), "a detectron2 config in YAML", " ".join(repr(error).split())) from error
