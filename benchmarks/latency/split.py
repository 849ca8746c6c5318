"""Whether the two halves are the detector, and what the edge saves by skipping what no key level needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
from detectron2.modeling import GeneralizedRCNN
from numpy.typing import NDArray
from torch import Tensor

from keyfpn.detector.detections import Detections
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf
from keyfpn.edge.encoder import EdgeEncoder
from keyfpn.edge.sources import Frame
from keyfpn.reconstruct.codec import LEVELS, build_codec
from keyfpn.server.pipeline import DetectionPipeline

Result = TypeVar("Result")

LOSSLESS = "raw:precision=fp32"
KEY_SETS = (("p3", "p5"), ("p3",), ("p4",), ("p5",))


@dataclass(frozen=True)
class Difference:
    """The largest differences between the boxes of the split and of the unsplit detector, over all pictures."""

    pictures: int
    boxes: int
    counts_and_classes_equal: bool
    score: float
    box_pixels: float


@dataclass(frozen=True)
class EdgeTime:
    """Median times per picture, measured in turns."""

    key_levels: tuple[str, ...]
    edge_ms: float
    whole_ms: float
    """Backbone and whole FPN, by detectron2's own forward."""
    ratio: float
    """Median of the ratios picture by picture."""


def compare_with_unsplit(model: DetectorModel, pictures: Sequence[Path]) -> Difference:
    """Detect on each picture unsplit, and by the real ends: edge encoder, packet with every level in float32, server.

    All in float32 in one process, so with the same threads and memory format.
    """
    network, preprocessor = model.build(), Preprocessor(model.cfg)
    edge = EdgeEncoder(model, build_codec(LOSSLESS, model))
    server = DetectionPipeline([model])
    same, boxes, score, pixels = True, 0, 0.0, 0.0
    for number, path in enumerate(pictures):
        original = read_picture(path)
        whole = _unsplit(network, preprocessor.to_input(preprocessor.resize(original)), original)
        packet = edge.encode(Frame(path.stem, number, original, capture_time=0)).data
        split = server.detect(server.read(packet))
        boxes += len(whole)
        if not np.array_equal(whole.classes, split.classes):
            same = False
        elif len(whole):
            score = max(score, float(np.abs(whole.scores - split.scores).max()))
            pixels = max(pixels, float(np.abs(whole.boxes - split.boxes).max()))
    return Difference(len(pictures), boxes, same, score, pixels)


def time_edge(model: DetectorModel, pictures: Sequence[Path]) -> list[EdgeTime]:
    """Time the edge's half for several sets of key levels against backbone and whole FPN, in float32.

    Picture by picture in turns, so that what else the machine does hits all alike. The first picture warms up.
    """
    network, preprocessor = model.build(), Preprocessor(model.cfg)
    halves = [EdgeHalf(network, levels) for levels in KEY_SETS]
    whole_ms: list[float] = []
    edge_ms: list[list[float]] = [[] for _ in halves]
    for path in pictures:
        network_input = preprocessor.to_input(preprocessor.resize(read_picture(path)))
        whole_ms.append(timed(partial(whole_backbone, network, network_input))[0])
        for half, times in zip(halves, edge_ms, strict=True):
            times.append(timed(partial(half, network_input))[0])
    return [
        EdgeTime(
            half.key_levels,
            median(times[1:]),
            median(whole_ms[1:]),
            median(edge / whole for edge, whole in zip(times[1:], whole_ms[1:], strict=True)),
        )
        for half, times in zip(halves, edge_ms, strict=True)
    ]


def _unsplit(network: GeneralizedRCNN, network_input: Tensor, original: NDArray[np.uint8]) -> Detections:
    with torch.inference_mode():
        found = network([{"image": network_input, "height": original.shape[0], "width": original.shape[1]}])
    return Detections.from_instances(found[0]["instances"])


def whole_backbone(network: GeneralizedRCNN, network_input: Tensor) -> None:
    """Run what the unsplit detector runs up to its pyramid."""
    with torch.inference_mode():
        padded = network.preprocess_image([{"image": network_input}]).tensor
        features = network.backbone(padded.contiguous(memory_format=torch.channels_last))
    assert list(features) == list(LEVELS)


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds that work takes, and what it gives."""
    start = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - start), result
