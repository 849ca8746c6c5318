"""The learned codec's networks at work: the analysis on the edge, the synthesis on the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from keyfpn.detector.model import Model
from keyfpn.detector.torch.derive import with_derived
from keyfpn.detector.torch.inference import for_inference

from ..codec import EdgeAnalysis, Rebuilder, Unpacked, check_batch
from .files import ANALYSIS_FILE, SYNTHESIS_FILE
from .gains import Gains
from .shape import LATENTS, Shape
from .transforms import Analysis, Synthesis
from .weights import read_weights


class LatentAnalysis(EdgeAnalysis):
    """Feature maps below the pyramid to y0, y1 and y2, before gain and rounding."""

    def __init__(self, model: Model, shape: Shape, device: str) -> None:
        """Read the network.

        Raises:
            ModelError: its file is missing or malformed.
        """
        analysis = Analysis(shape.key_channels, shape.analysis, shape.latents)
        gains = Gains(shape.latents, shape.qualities)
        read_weights(model, ANALYSIS_FILE, {"analysis": analysis, "gain": gains.log_gain})
        analysis.fold()
        self._analysis = for_inference(analysis, device)

    def analyze(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.inference_mode():
            latents = self._analysis(features)
            return {name: latent.float() for name, latent in zip(LATENTS, latents, strict=True)}


class LatentRebuilder(Rebuilder):
    """Integer latents to the pyramid."""

    def __init__(self, model: Model, shape: Shape, device: str) -> None:
        """Read the network.

        Raises:
            ModelError: its file is missing or malformed.
        """
        synthesis = Synthesis(shape.key_channels, shape.synthesis, shape.latents)
        gains = Gains(shape.latents, shape.qualities)
        read_weights(model, SYNTHESIS_FILE, {"synthesis": synthesis, "inverse": gains.log_inverse})
        self._synthesis, self._gains = for_inference(synthesis, device), for_inference(gains, device)
        self._pyramid, self._device = model.pyramid, device

    def rebuild(self, batch: Sequence[Unpacked]) -> dict[str, Tensor]:
        check_batch(batch)
        symbols = [
            torch.stack([torch.from_numpy(unpacked.arrays[name]) for unpacked in batch]).to(self._device).float()
            for name in LATENTS
        ]
        quality = torch.tensor([unpacked.quality - 1 for unpacked in batch], device=self._device)
        with torch.inference_mode():
            whole = with_derived(self._synthesis(self._gains.unscale(symbols, quality)), self._pyramid)
        return {level: whole[level] for level in self._pyramid.levels}
