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

from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.edge.pipeline import Edge
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.frame import Frame, Picture
from keyfpn.server.pipeline import Server

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


def compare_with_unsplit(model: Model, pictures: Sequence[Path]) -> Difference:
    """Detect on each picture unsplit, and by the real ends: edge, packet with every level in float32, server.

    All in float32 in one process, so with the same threads and memory format.
    """
    network = build_network(model)
    edge, server = Edge(model, LOSSLESS), Server(model)
    same, boxes, score, pixels = True, 0, 0.0, 0.0
    for number, path in enumerate(pictures):
        original = read_picture(path)
        whole = _unsplit(model, network, original)
        split = server.detect(edge.encode_frame(Frame(path.stem, number, original)).data)
        boxes += len(whole)
        if not np.array_equal(whole.classes, split.classes):
            same = False
        elif len(whole):
            score = max(score, float(np.abs(whole.scores - split.scores).max()))
            pixels = max(pixels, float(np.abs(whole.boxes - split.boxes).max()))
    return Difference(len(pictures), boxes, same, score, pixels)


def time_edge(model: Model, pictures: Sequence[Path]) -> list[EdgeTime]:
    """Time the edge's half for several sets of key levels against backbone and whole FPN, in float32.

    Picture by picture in turns, so that what else the machine does hits all alike. The first picture warms up.
    """
    network, preprocessor = build_network(model), model.preprocessor
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


def _unsplit(model: Model, network: GeneralizedRCNN, original: Picture) -> Detections:
    network_input = torch.from_numpy(model.preprocessor.to_input(model.preprocessor.resize(original)))
    with torch.inference_mode():
        found = network([{"image": network_input, "height": original.shape[0], "width": original.shape[1]}])
    return to_detections(found[0]["instances"], model.labels)


def whole_backbone(network: GeneralizedRCNN, network_input: NDArray[np.uint8]) -> None:
    """Run what the unsplit detector runs up to its pyramid, on (3, H, W) uint8."""
    with torch.inference_mode():
        padded = network.preprocess_image([{"image": torch.from_numpy(network_input)}]).tensor
        network.backbone(padded.contiguous(memory_format=torch.channels_last))


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds that work takes, and what it gives."""
    start = perf_counter()
    result = work()
    return 1e3 * (perf_counter() - start), result
