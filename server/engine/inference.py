"""From unpacked frames to detections, on one device."""

from __future__ import annotations

from collections.abc import Sequence

from keyfpn.detector.precision import Precision
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.protocol.detections import Detections

from ..held import HeldModels, UnpackedFrame


class Inference:
    """The networks of all models that are held: rebuilders and heads. Safe to use from several threads at once."""

    def __init__(self, held: HeldModels, *, precision: Precision = "fp32", device: str = "cpu") -> None:
        """Build the networks; of each detector only what a server needs stays in memory.

        Args:
            held: models and codecs.
            precision: of convolutions and matrix products.
            device: as torch names devices.

        Raises:
            ModelError: there is no such device, or a network cannot be built.
        """
        self._halves = {
            fingerprint: ServerHalf(build_network(model, device), precision=precision)
            for fingerprint, model in held.models.items()
        }
        self._rebuilders = {
            (model.fingerprint, codec.name): codec.rebuilder(device)
            for model in held.models.values()
            for codec in held.codecs(model)
        }

    def detect(self, batch: Sequence[UnpackedFrame]) -> list[Detections]:
        """Find the objects of frames.

        Args:
            batch: frames of one model and codec, with the same ``unpacked.batch_key``.
        """
        codec = batch[0].codec
        fingerprint = codec.model.fingerprint
        pyramid = self._rebuilders[fingerprint, codec.name].rebuild([frame.unpacked for frame in batch])
        found = self._halves[fingerprint](
            pyramid,
            [frame.unpacked.geometry.network_size for frame in batch],
            [frame.image_size for frame in batch],
        )
        return [to_detections(instances, codec.model.labels) for instances in found]
