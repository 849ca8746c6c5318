"""What a codec costs each end: the edge beside backbone and whole FPN, the server beside RPN and ROI heads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from detectron2.modeling import GeneralizedRCNN
from numpy.typing import NDArray

from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Encoder
from keyfpn.reconstruct.learned.codec import LearnedCodec
from keyfpn.reconstruct.registry import decodable_codecs, open_encoder

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


def timed_codecs(model: Model) -> list[str]:
    """Settings worth timing: a baseline, and the extremes and the middle of the learned codec's qualities."""
    held = {codec.name: codec for codec in decodable_codecs(model)}
    settings = [f"{name}:precision=int4" for name in ("interpolate", "network") if name in held]
    if "learned" in held:
        qualities = held["learned"].sweep()
        chosen = sorted({0, (len(qualities) + 1) // 2 - 1, len(qualities) - 1})
        settings += [str(qualities[place]) for place in chosen]
    return settings


def time_codecs(model: Model, pictures: Sequence[Path]) -> list[CodecTime]:
    """Time codecs on pictures, in turns picture by picture; the first one warms up."""
    network, preprocessor = build_network(model), model.preprocessor
    stopwatches = [_Stopwatch(open_encoder(text, model), network) for text in timed_codecs(model)]
    measured: dict[str, list[dict[str, float]]] = defaultdict(list)
    for path in pictures:
        resized = preprocessor.resize(read_picture(path))
        network_input = preprocessor.to_input(resized)
        whole, _ = timed(partial(whole_backbone, network, network_input))
        for stopwatch in stopwatches:
            times = stopwatch.time(network_input, (resized.shape[0], resized.shape[1]))
            measured[str(stopwatch.encoder.settings)].append(times | {"whole": whole})
    return [_summary(settings, times[1:]) for settings, times in measured.items()]


class _Stopwatch:
    """Times the two ends of one setting of a codec."""

    def __init__(self, encoder: Encoder, network: GeneralizedRCNN) -> None:
        self.encoder, codec = encoder, encoder.codec
        self._half, self._analysis = EdgeHalf(network, encoder.reads), codec.analysis(encoder)
        self._decoder, self._rebuilder = codec.decoder(), codec.rebuilder()
        self._server = ServerHalf(network)

    def time(self, network_input: NDArray[np.uint8], size: tuple[int, int]) -> dict[str, float]:
        """Milliseconds of each part."""
        times: dict[str, float] = {}
        times["edge"], packet = timed(partial(self._send, network_input, size))
        times["server"], pyramid = timed(lambda: self._rebuilder.rebuild([self._decoder.unpack(packet)]))
        times["heads"], _ = timed(lambda: self._server(pyramid, [size], [size]))
        if isinstance(self.encoder.codec, LearnedCodec):
            coder, geometry = self.encoder.codec.coder, self.encoder.codec.model.geometry(size)
            quality = self.encoder.quality
            times["entropy decode"], latents = timed(lambda: coder.decode(packet.chunks, geometry, quality))
            times["entropy encode"], _ = timed(lambda: coder.encode(latents, quality))
        return times

    def _send(self, network_input: NDArray[np.uint8], size: tuple[int, int]) -> Packet:
        arrays = self._analysis.arrays(self._half(network_input))
        return self.encoder.packet(arrays, image_size=size, network_size=size)


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
