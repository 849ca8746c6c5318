"""A trained learned codec as a part of its detector's model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyfpn.detector.model import Model
from keyfpn.protocol.latent import LatentModel
from keyfpn.reconstruct.learned.files import FOLDER
from keyfpn.reconstruct.learned.network import CodecNetwork
from keyfpn.reconstruct.learned.weights import write_codec
from keyfpn.training.codecs.publish import published_with_new
from keyfpn.training.engine.folder import CARD


def publish_codec(
    model: Model, codec: CodecNetwork, entropy_models: Sequence[LatentModel], card: str, folder: Path
) -> None:
    """Write a detector and its learned codec as a model folder, in the place of one that was there.

    Args:
        model: the detector, with all other files of its own folder if it has one.
        codec: trained for it.
        entropy_models: of the codec's latents.
        card: the codec's model card.
        folder: where to; appears whole.

    Raises:
        ModelError: the model's own folder is another than when it was opened.
    """
    with published_with_new(model, folder, FOLDER) as partial:
        write_codec(partial, codec, entropy_models)
        (partial / FOLDER / CARD).write_text(card)
