"""What a codec costs each end: the edge beside backbone and whole FPN, the server beside RPN and ROI heads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from detectron2.modeling import GeneralizedRCNN
from torch import Tensor

from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import Preprocessor, read_picture
from keyfpn.detector.split import EdgeHalf, ServerHalf
from keyfpn.protocol.chunk import LATENT_LEVELS
from keyfpn.reconstruct.codec import FeatureCodec, build_codec, codec_names
from keyfpn.reconstruct.learned.files import read_coder, read_shape

from .split import timed, whole_backbone


@dataclass(frozen=True)
class CodecTime:
    """Median times per picture in float32, and medians of the ratios picture by picture."""

    settings: str
    edge_ms: float
    """The edge's half, the codec's transform, quantization and entropy coding."""
    edge_ratio: float
    """To backbone and whole FPN."""
    server_ms: float
    """Entropy decoding and rebuilding."""
    server_ratio: float
    """To RPN and ROI heads on the rebuilt pyramid."""
    entropy_encode_ms: float | None
    """Of latents; None for other codecs."""
    entropy_decode_ms: float | None


def timed_codecs(model: DetectorModel) -> list[str]:
    """Settings worth timing: a baseline, and the extremes and the middle of the learned codec's qualities."""
    codecs = ["interpolate:precision=int4"]
    if "network" in codec_names(model):
        codecs.append("network:precision=int4")
    if _has_latents(model):
        last = build_codec("learned", model).qualities
        codecs += [f"learned:quality={quality}" for quality in sorted({1, (last + 1) // 2, last})]
    return codecs


def time_codecs(model: DetectorModel, pictures: Sequence[Path]) -> list[CodecTime]:
    """Time codecs on pictures, in turns picture by picture; the first one warms up."""
    network, preprocessor = model.build(), Preprocessor(model.cfg)
    codecs = [build_codec(text, model) for text in timed_codecs(model)]
    stopwatch = _Stopwatch(model, network)
    measured: dict[str, list[dict[str, float]]] = defaultdict(list)
    for path in pictures:
        resized = preprocessor.resize(read_picture(path))
        network_input = preprocessor.to_input(resized)
        whole, _ = timed(partial(whole_backbone, network, network_input))
        for codec in codecs:
            times = stopwatch.time(codec, network_input, (resized.shape[0], resized.shape[1]))
            measured[str(codec.settings)].append(times | {"whole": whole})
    return [_summary(settings, times[1:]) for settings, times in measured.items()]


class _Stopwatch:
    """Times the two ends of codecs of one detector."""

    def __init__(self, model: DetectorModel, network: GeneralizedRCNN) -> None:
        self._model, self._network, self._server = model, network, ServerHalf(network)
        folder = model.folder if _has_latents(model) else None
        self._coder = read_coder(folder, read_shape(folder)) if folder is not None else None

    def time(self, codec: FeatureCodec, network_input: Tensor, size: tuple[int, int]) -> dict[str, float]:
        """Milliseconds of each part."""
        half = EdgeHalf(self._network, codec.key_levels)
        geometry = self._model.geometry(size)
        times: dict[str, float] = {}
        times["edge"], chunks = timed(lambda: codec.encode(half(network_input)))
        times["server"], rebuilt = timed(lambda: codec.decode(chunks, geometry))
        times["heads"], _ = timed(lambda: self._server(rebuilt, size, size))
        if self._coder and chunks[0].level in LATENT_LEVELS:
            coder = self._coder
            times["entropy decode"], latents = timed(lambda: coder.decode(chunks, geometry, codec.quality))
            times["entropy encode"], _ = timed(lambda: coder.encode(latents, codec.quality))
        return times


def _has_latents(model: DetectorModel) -> bool:
    return "learned" in codec_names(model)


def _summary(settings: str, times: Sequence[Mapping[str, float]]) -> CodecTime:
    def middle(name: str) -> float | None:
        return median(found[name] for found in times) if name in times[0] else None

    return CodecTime(
        settings,
        median(found["edge"] for found in times),
        median(found["edge"] / found["whole"] for found in times),
        median(found["server"] for found in times),
        median(found["server"] / found["heads"] for found in times),
        middle("entropy encode"),
        middle("entropy decode"),
    )
