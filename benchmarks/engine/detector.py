"""A detector at work in one process: its two halves, and the codecs of its model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from keyfpn.detector.model import open_model
from keyfpn.detector.precision import Precision
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.limits import Limits
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import Codec, Decoder, EdgeAnalysis, Encoder, Rebuilder
from keyfpn.reconstruct.registry import choose_codec, decodable_codecs, open_encoder
from keyfpn.reconstruct.settings import CodecSettings


class Detector:
    """The unsplit detector and both its halves, on the CPU.

    Attributes:
        model: its files.
        preprocessor: its test transform.
    """

    def __init__(self, detector: str, weights: Path | None, precision: Precision) -> None:
        """Build the network.

        Raises:
            ModelError: there is no such detector.
        """
        self.model = open_model(detector, weights)
        self.preprocessor = self.model.preprocessor
        self._network, self._precision = build_network(self.model), precision
        self._edge = EdgeHalf(self._network, self.model.pyramid.levels, precision=precision)
        self._server = ServerHalf(self._network, precision=precision)
        self._sending: dict[CodecSettings, tuple[Encoder, EdgeAnalysis]] = {}
        self._receiving: dict[str, tuple[Decoder, Rebuilder]] = {}
        self._codecs: list[Codec] = decodable_codecs(self.model)

    def backbone(self, picture: NDArray[np.uint8]) -> dict[str, Tensor]:
        """``p2 … p6`` of a picture of network size, (H, W, 3) uint8 RGB."""
        features: dict[str, Tensor] = self._edge(self.preprocessor.to_input(picture))
        return features

    def look(self, picture: NDArray[np.uint8], key_levels: Sequence[str]) -> dict[str, Tensor]:
        """Key levels of a picture of network size, by the edge's half made for them."""
        half = EdgeHalf(self._network, key_levels, precision=self._precision)
        features: dict[str, Tensor] = half(self.preprocessor.to_input(picture))
        return features

    def encoder(self, settings: CodecSettings) -> tuple[Encoder, EdgeAnalysis]:
        """What an edge sends with, made once."""
        if settings not in self._sending:
            encoder = open_encoder(settings, self.model)
            self._sending[settings] = encoder, encoder.codec.analysis(encoder)
        return self._sending[settings]

    def rebuild(self, packet: Packet, limits: Limits) -> dict[str, Tensor]:
        """The pyramid that a server makes of a packet, with nothing else at hand than the model."""
        codec = choose_codec(packet, self.model, self._codecs)
        if codec.name not in self._receiving:
            self._receiving[codec.name] = codec.decoder(), codec.rebuilder()
        decoder, rebuilder = self._receiving[codec.name]
        return rebuilder.rebuild([decoder.unpack(packet, limits)])

    def detect(
        self,
        features: Mapping[str, Tensor],
        network_size: tuple[int, int],
        image_size: tuple[int, int],
        roi_features: Mapping[str, Tensor] | None = None,
    ) -> Detections:
        """Detect on what arrived; all that the detector returns, up to its own limit.

        Args:
            features: the pyramid, each level (1, C, h, w) float32.
            network_size: (height, width) of the network's input, before padding.
            image_size: (height, width) of the original picture, whose pixels the boxes are in.
            roi_features: another pyramid for the ROI heads alone.
        """
        with self._roi_heads_see(roi_features):
            (instances,) = self._server(features, [network_size], [image_size])
        return to_detections(instances, self.model.labels)

    @contextmanager
    def _roi_heads_see(self, features: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Give the ROI heads another pyramid than the RPN, which no product does."""
        if features is None:
            yield
            return

        def swap(_heads: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            pictures, _, *others = arguments
            return (pictures, dict(features), *others)

        hook = self._network.roi_heads.register_forward_pre_hook(swap)
        try:
            yield
        finally:
            hook.remove()
