"""Which codecs there are: keyfpn's own, and those of installed packages.

A package brings a codec by one entry point, whose name is the codec's::

    [project.entry-points."keyfpn.codecs"]
    mycodec = "mypackage.codec:MyCodec"
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from keyfpn.detector.model import Model
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.protocol.packet import PRIVATE_CODEC_IDS, Packet

from .codec import Codec, Encoder
from .learned.files import ENTROPY_FILE, SHAPE_FILE
from .settings import CodecSettings

GROUP = "keyfpn.codecs"
_OWN = {
    "raw": "keyfpn.reconstruct.raw.codec:RawCodec",
    "interpolate": "keyfpn.reconstruct.interpolate.codec:InterpolateCodec",
    "network": "keyfpn.reconstruct.network.codec:NetworkCodec",
    "learned": "keyfpn.reconstruct.learned.codec:LearnedCodec",
}
_log = logging.getLogger(__name__)


@cache
def registered_codecs() -> dict[str, type[Codec]]:
    """Name to class of every codec, by name; one of another package that cannot be used is logged and left out."""
    found = {name: EntryPoint(name, value, GROUP).load() for name, value in _OWN.items()}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found[entry.name] = _checked(entry, found)
        except Exception as error:  # a package of others must not keep keyfpn from working
            package = entry.dist.name if entry.dist else "unknown"
            reason = " ".join(f"{type(error).__name__}: {error}".split())  # one line, however many the error has
            _log.warning("codec %r of package %s is left out: %s", entry.name, package, reason)
    return dict(sorted(found.items()))


def _checked(entry: EntryPoint, found: dict[str, type[Codec]]) -> type[Codec]:
    codec = entry.load()
    subject = f"codec {entry.name!r}"
    if not (isinstance(codec, type) and issubclass(codec, Codec)) or codec.name != entry.name:
        raise ConfigurationError(subject, "a subclass of Codec with this name", repr(codec))
    if codec.wire_id not in PRIVATE_CODEC_IDS:
        raise ConfigurationError(f"{subject}, wire id", "128 to 255, the private ones", codec.wire_id)
    same = [name for name, other in found.items() if name == codec.name or other.wire_id == codec.wire_id]
    if same:
        raise ConfigurationError(subject, "a name and a wire id of its own", f"those of {same[0]!r}")
    return codec


def open_codec(name: str, model: Model) -> Codec:
    """A codec of a model.

    Raises:
        ConfigurationError: there is no such codec.
    """
    codecs = registered_codecs()
    if name not in codecs:
        raise ConfigurationError("codec", f"one of {', '.join(codecs)}", repr(name))
    return codecs[name](model)


def open_encoder(settings: CodecSettings | str, model: Model) -> Encoder:
    """An encoder for a stream of frames.

    Args:
        settings: as in ``learned:quality=3``.
        model: whose pyramids travel.

    Raises:
        ConfigurationError: no such codec, or settings that cannot work.
        ModelError: a file of the codec is missing or malformed.
    """
    settings = CodecSettings.parse(settings) if isinstance(settings, str) else settings
    return open_codec(settings.name, model).encoder(settings)


def decodable_codecs(model: Model) -> list[Codec]:
    """The codecs that this copy of a model has all files for that a server needs."""
    return [codec for kind in registered_codecs().values() if (codec := kind(model)).can_decode()]


def codec_of(packet: Packet, model: Model) -> Codec:
    """The codec that a packet was made with.

    Raises:
        FingerprintMismatch: the packet was made with another model.
        InvalidField: a codec that does not exist here, or that the model has no files for.
    """
    packet.require_fingerprint(model.fingerprint)
    return choose_codec(packet, model, decodable_codecs(model))


def choose_codec(packet: Packet, model: Model, codecs: Sequence[Codec]) -> Codec:
    """The codec of a packet among those of its model.

    Raises:
        InvalidField: it is not among them.
    """
    codec = next((codec for codec in codecs if codec.wire_name == packet.codec), None)
    if codec is None:
        names = ", ".join(codec.name for codec in codecs)
        raise InvalidField("codec", f"one that {model.name} has the files of ({names})", packet.codec)
    return codec


def default_codec(model: Model) -> str:
    """The codec to use with a model unless told: the learned one where it was trained."""
    return "learned" if model.published_with(SHAPE_FILE, ENTROPY_FILE) else "interpolate"


def identity(codec: Codec) -> str:
    """What a codec's results with its model depend on, hashed: all the model's files but those of other codecs.

    Unlike the fingerprint it stays the same when another codec is trained again.
    """
    owned = {file for known in registered_codecs().values() for file in known.files}
    others = owned - set(codec.files)
    hashes = {name: value for name, value in codec.model.manifest.hashes.items() if name.split("/")[0] not in others}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
