"""How well a codec in training serves its detector: bytes and agreement on held-out pictures, without labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import GeneralizedRCNN
from pycocotools.coco import COCO

from detector.coco import as_ground_truth, match, summarize
from detector.detections import Detections
from detector.model import DetectorModel
from detector.pictures import Preprocessor, read_picture
from detector.split import EdgeHalf, Precision, ServerHalf, autocast
from reconstruct.codec import LEVELS
from reconstruct.learned.network import CodecNetwork
from reconstruct.learned.transforms import KEY_LEVELS
from reconstruct.levels import last_level_max_pool

from .loop import Figures
from .tables import Frame

_SCORE = 0.3
"""From here on a box of the unsplit detector counts as true."""


class Probe:
    """The unsplit detector's boxes of pictures, and the codec's against them."""

    def __init__(
        self, model: DetectorModel, detector: GeneralizedRCNN, pictures: Sequence[Path], precision: Precision
    ) -> None:
        """Take the pictures; nothing is computed before the first measurement."""
        self._pictures, self._precision = pictures, precision
        self._preprocessor, self._classes = Preprocessor(model.cfg), range(len(model.class_names))
        self._edge = EdgeHalf(detector, [*LEVELS, *KEY_LEVELS], precision=precision)
        self._server = ServerHalf(detector, precision=precision)
        self._truth: COCO | None = None

    def measure(self, codec: CodecNetwork, qualities: Iterable[int]) -> Figures:
        """Send all pictures through the codec.

        Args:
            codec: in evaluation mode.
            qualities: of them, 1 being the lowest.

        Returns:
            For each quality its estimated kilobytes per picture, and its AP against the unsplit detector's boxes.
        """
        qualities = list(qualities)
        results: dict[int, list[dict[str, Any]]] = {quality: [] for quality in qualities}
        bits = dict.fromkeys(qualities, 0.0)
        unsplit = []
        for number, path in enumerate(self._pictures):
            features, sizes = self._look(path)
            if self._truth is None:
                unsplit += self._detect(features, sizes, number, _SCORE)
            for quality in qualities:
                with torch.inference_mode(), autocast(features["p5"].device, self._precision):
                    passage = codec(features, torch.tensor([quality - 1], device=features["p5"].device))
                bits[quality] += float(sum(latent.sum() for latent in passage.bits))
                rebuilt = passage.pyramid | {"p6": last_level_max_pool(passage.pyramid["p5"])}
                results[quality] += self._detect(rebuilt, sizes, number)
        if self._truth is None:
            self._truth = as_ground_truth(unsplit, self._empty())
        figures: Figures = {}
        for quality in qualities:
            figures[f"kB q{quality}"] = bits[quality] / 8 / len(self._pictures) / 1000
            agreement = summarize(match(self._truth, results[quality], range(len(self._pictures)))).as_dict()
            figures[f"agreement q{quality}"] = agreement["AP"]
        return figures

    def frames(self, codec: CodecNetwork, pictures: Sequence[Path]) -> Iterator[Frame]:
        """The symbols of pictures at every quality."""
        for path in pictures:
            features, _ = self._look(path)
            with torch.inference_mode(), autocast(features["p5"].device, self._precision):
                latents = codec.analysis(features)
            for quality in range(codec.shape.qualities):
                scaled = codec.gains.scale(latents, torch.tensor([quality], device=features["p5"].device))
                # 16 bits, because many pictures are kept at once.
                yield [torch.round(y[0]).to("cpu", torch.int16).numpy() for y in scaled], quality + 1

    def _look(self, path: Path) -> tuple[dict[str, torch.Tensor], tuple[tuple[int, int], tuple[int, int]]]:
        """Features, and the sizes of network input and picture."""
        pixels = read_picture(path)
        resized = self._preprocessor.resize(pixels)
        height, width = resized.shape[:2]
        return self._edge(self._preprocessor.to_input(resized)), ((height, width), (pixels.shape[0], pixels.shape[1]))

    def _detect(
        self,
        features: dict[str, torch.Tensor],
        sizes: tuple[tuple[int, int], tuple[int, int]],
        number: int,
        score: float = 0.0,
    ) -> list[dict[str, Any]]:
        found = Detections.from_instances(self._server(features, *sizes)).above(score)
        return found.to_coco(number, self._classes)

    def _empty(self) -> COCO:
        """A data set of these pictures without boxes."""
        data = COCO()
        data.dataset = {
            "images": [{"id": number} for number in range(len(self._pictures))],
            "categories": [{"id": number} for number in self._classes],
        }
        return data
