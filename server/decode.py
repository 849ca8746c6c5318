"""Packets from files: detections, COCO results and annotated pictures, without a network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from keyfpn.console.drawing import draw
from keyfpn.console.records import detections_record, packet_record
from keyfpn.console.results import OutputFolder
from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import SUFFIXES, read_picture
from keyfpn.protocol.detections import Detections
from keyfpn.protocol.errors import LimitExceeded
from keyfpn.protocol.packet import Packet

from .errors import PacketFileError
from .pipeline import Server

PACKET_SUFFIX = ".kfpn"


@dataclass(frozen=True)
class Decoded:
    """A packet file and what was found in its frame."""

    path: Path
    packet: Packet
    size: int
    """Bytes of the packet."""
    model: Model
    detections: Detections
    ms: float
    """Time from bytes to detections, in milliseconds."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event": "packet",
            "packet": str(self.path),
            "model": self.model.name,
            **packet_record(self.packet, self.size),
            "ms": round(self.ms, 3),
            "detections": detections_record(self.detections),
        }


def find_packets(paths: Sequence[Path]) -> list[Path]:
    """Packet files among files and folders: files as they are named, a folder's ``*.kfpn``, sorted, not recursive.

    Raises:
        PacketFileError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{PACKET_SUFFIX}")) if path.is_dir() else [path]
        if not inside:
            raise PacketFileError(str(path), f"packets (*{PACKET_SUFFIX}) in this folder", "none")
        found += inside
    return found


def decode_file(server: Server, path: Path) -> Decoded:
    """Detect on one packet file.

    Raises:
        ProtocolError: the file is no packet that the server can decode.
        OSError: it cannot be read.
    """
    limit = server.held.limits.max_packet_bytes
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitExceeded("packet", f"at most {limit} bytes", f"{path.stat().st_size}")
    start = perf_counter()
    packet = server.held.read(data)
    found = server.detect(packet)
    return Decoded(path, packet, len(data), server.held.model_of(packet), found, 1000 * (perf_counter() - start))


def draw_into(decoded: Decoded, pictures: Path, folder: OutputFolder) -> None:
    """Draw the boxes into the original picture, the one with the packet's file stem.

    Raises:
        PictureError: there is no such picture, it cannot be read, or it is of another size than the packet says.
        ResultError: there was a packet of this name before.
    """
    stem = decoded.path.stem
    original = next((file for suffix in SUFFIXES if (file := pictures / f"{stem}{suffix}").is_file()), None)
    if original is None:
        raise PictureError(str(pictures), f"the packet's picture {stem} ({', '.join(SUFFIXES)})", "none")
    picture = read_picture(original)
    if picture.shape[:2] != decoded.packet.image_size:
        sizes = [f"{height} x {width}" for height, width in (decoded.packet.image_size, picture.shape[:2])]
        raise PictureError(str(original), f"{sizes[0]} pixels, as the packet says", sizes[1])
    drawing = io.BytesIO()
    draw(decoded.detections, picture).save(drawing, format="JPEG", quality=92)
    folder.write(stem, drawing.getvalue())
