"""A trained reconstruction network as a part of its detector's model folder."""

from __future__ import annotations

from pathlib import Path

from keyfpn.detector.model import Model
from keyfpn.reconstruct.network.files import FOLDER
from keyfpn.reconstruct.network.network import ReconstructionNetwork
from keyfpn.reconstruct.network.rebuilder import write_network
from keyfpn.training.codecs.publish import published_with_new


def publish_network(model: Model, network: ReconstructionNetwork, folder: Path) -> None:
    """Write a detector and its reconstruction network as a model folder, in the place of one that was there.

    Args:
        model: the detector, with all other files of its own folder if it has one.
        network: trained for it.
        folder: where to; appears whole.

    Raises:
        ModelError: the model's own folder is another than when it was opened.
    """
    with published_with_new(model, folder, FOLDER) as partial:
        write_network(partial, network)
