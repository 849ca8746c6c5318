"""How well a rebuilt pyramid serves its detector: bytes and agreement on held-out pictures, without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import GeneralizedRCNN
from pycocotools.coco import COCO
from torch import Tensor

from keyfpn.detector.coco import as_ground_truth, match, summarize
from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.autocast import autocast
from keyfpn.detector.torch.derive import with_derived
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.reconstruct.learned.shape import KEY_LEVELS
from keyfpn.training.engine.loop import Figures

_SCORE = 0.3
"""From here on a box of the unsplit detector counts as true."""


@dataclass(frozen=True)
class Look:
    """A picture as the edge sees it."""

    features: dict[str, Tensor]
    """p2 … p6 and what the learned codec reads, (1, C, h, w)."""
    network_size: tuple[int, int]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class Trial:
    """What a network made of a picture's features."""

    pyramid: dict[str, Tensor]
    """p2 … p5."""
    bits: float | None
    """Estimated, of what would be sent; None where nothing is coded."""


Way = Callable[[Mapping[str, Tensor]], Trial]
"""From a picture's features to what a server would have of them."""


class Probe:
    """The unsplit detector's boxes of pictures, and those of rebuilt pyramids against them."""

    def __init__(self, model: Model, detector: GeneralizedRCNN, pictures: Sequence[Path], precision: Precision) -> None:
        """Take the pictures; nothing is computed before the first measurement."""
        self._model, self._pictures, self._precision = model, pictures, precision
        self._classes = range(len(model.labels))
        self._edge = EdgeHalf(detector, [*model.pyramid.levels, *KEY_LEVELS], precision=precision)
        self._server = ServerHalf(detector, precision=precision)
        self._truth: COCO | None = None

    def measure(self, ways: Mapping[str, Way]) -> Figures:
        """Send all pictures each way.

        Args:
            ways: by name; networks in evaluation mode.

        Returns:
            For each way its AP against the unsplit detector's boxes, and its estimated kilobytes per picture if any.
        """
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        bits: dict[str, float] = {}
        unsplit = []
        for number, path in enumerate(self._pictures):
            look = self.look(path)
            if self._truth is None:
                unsplit += self._detect(look, look.features, number, _SCORE)
            for name, way in ways.items():
                with torch.inference_mode(), autocast(look.features["p5"].device, self._precision):
                    trial = way(look.features)
                if trial.bits is not None:
                    bits[name] = bits.get(name, 0.0) + trial.bits
                results[name] += self._detect(look, with_derived(trial.pyramid, self._model.pyramid), number)
        if self._truth is None:
            self._truth = as_ground_truth(unsplit, self._without_boxes())
        figures: Figures = {}
        for name in ways:
            if name in bits:
                figures[f"kB {name}"] = round(bits[name] / 8000 / len(self._pictures), 3)
            found = summarize(match(self._truth, results[name], range(len(self._pictures))))
            figures[f"agreement {name}"] = found.as_dict()["AP"]
        return figures

    def look(self, path: Path) -> Look:
        """Compute a picture's features."""
        pixels = read_picture(path)
        resized = self._model.preprocessor.resize(pixels)
        features = self._edge(self._model.preprocessor.to_input(resized))
        return Look(features, (resized.shape[0], resized.shape[1]), (pixels.shape[0], pixels.shape[1]))

    def _detect(
        self, look: Look, features: Mapping[str, Tensor], number: int, score: float = 0.0
    ) -> list[dict[str, Any]]:
        (instances,) = self._server(features, [look.network_size], [look.image_size])
        return to_detections(instances, self._model.labels).above(score).to_coco(number, self._classes)

    def _without_boxes(self) -> COCO:
        """A data set of these pictures without boxes."""
        data = COCO()
        data.dataset = {
            "images": [{"id": number} for number in range(len(self._pictures))],
            "categories": [{"id": number} for number in self._classes],
        }
        return data
