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
from keyfpn.protocol.detections import Detections
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import Preprocessor, read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.precision import Precision
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.detector.torch.precision import autocast
from keyfpn.reconstruct.codec import LEVELS
from keyfpn.reconstruct.learned.shape import KEY_LEVELS
from keyfpn.reconstruct.levels import last_level_max_pool
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
        self._pictures, self._precision = pictures, precision
        self._preprocessor, self._classes = model.preprocessor, range(len(model.labels.names))
        self._edge = EdgeHalf(detector, [*LEVELS, *KEY_LEVELS], precision=precision)
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
                rebuilt = trial.pyramid | {"p6": last_level_max_pool(trial.pyramid["p5"])}
                results[name] += self._detect(look, rebuilt, number)
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
        resized = self._preprocessor.resize(pixels)
        features = self._edge(self._preprocessor.to_input(resized))
        return Look(features, (resized.shape[0], resized.shape[1]), (pixels.shape[0], pixels.shape[1]))

    def _detect(
        self, look: Look, features: Mapping[str, Tensor], number: int, score: float = 0.0
    ) -> list[dict[str, Any]]:
        found = Detections.from_instances(self._server(features, look.network_size, look.image_size)).above(score)
        return found.to_coco(number, self._classes)

    def _without_boxes(self) -> COCO:
        """A data set of these pictures without boxes."""
        data = COCO()
        data.dataset = {
            "images": [{"id": number} for number in range(len(self._pictures))],
            "categories": [{"id": number} for number in self._classes],
        }
        return data
