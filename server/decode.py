"""Packets from files: detections, COCO results and annotated pictures, without a network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from keyfpn.detector.detections import Detections
from keyfpn.detector.errors import PictureError
from keyfpn.detector.model import DetectorModel
from keyfpn.detector.pictures import SUFFIXES, read_picture
from keyfpn.protocol.errors import LimitExceeded
from keyfpn.protocol.files import whole_file
from keyfpn.protocol.packet import Packet

from .errors import PacketFileError
from .pipeline import DetectionPipeline

PACKET_SUFFIX = ".kfpn"


@dataclass(frozen=True)
class Decoded:
    """A packet file and what was found in its frame."""

    path: Path
    packet: Packet
    size: int
    """Bytes of the packet."""
    model: DetectorModel
    detections: Detections
    ms: float
    """Time from bytes to detections, in milliseconds."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = self.detections
        return {
            "packet": str(self.path),
            "stream_id": f"{self.packet.stream_id:016x}",  # JSON numbers are exact to 2**53 in many readers
            "frame_id": self.packet.frame_id,
            "model": self.model.name,
            "codec": self.packet.codec,
            "bytes": self.size,
            "image_size": self.packet.image_size,
            "ms": round(self.ms, 3),
            "detections": [
                {"class": self.model.class_names[label], "score": score, "box": box}
                for box, score, label in zip(
                    found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
                )
            ],
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
            raise PacketFileError(f"{path}: expected packets (*{PACKET_SUFFIX}) in this folder, found none")
        found += inside
    return found


def decode_file(pipeline: DetectionPipeline, path: Path) -> Decoded:
    """Detect on one packet file.

    Raises:
        ProtocolError: the file is no packet that the pipeline can decode.
        OSError: it cannot be read.
    """
    limit = pipeline.limits.max_packet_bytes
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitExceeded("packet", f"at most {limit} bytes", f"{path.stat().st_size}")
    start = perf_counter()
    packet = pipeline.read(data)
    detections = pipeline.detect(packet)
    return Decoded(path, packet, len(data), pipeline.model_of(packet), detections, 1000 * (perf_counter() - start))


class CocoResults:
    """Collects detections in COCO's results format; ``image_id`` is the packet's frame id."""

    def __init__(self) -> None:
        """Start empty."""
        self._paths: dict[int, Path] = {}
        self._results: list[dict[str, Any]] = []

    def add(self, decoded: Decoded) -> None:
        """Add a frame.

        Raises:
            PacketFileError: another file had the same frame id, so that the file would mix up their boxes.
        """
        frame_id = decoded.packet.frame_id
        first = self._paths.setdefault(frame_id, decoded.path)
        if first != decoded.path:
            raise PacketFileError(f"expected one packet per frame id in a COCO file, found {frame_id} in {first} too")
        self._results += decoded.detections.to_coco(frame_id, decoded.model.category_ids)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with whole_file(path) as file:
            file.write_text(json.dumps(self._results))


def draw(decoded: Decoded, pictures: Path, folder: Path) -> None:
    """Draw the boxes into the original picture, the one with the packet's file stem, as ``<stem>.jpg``.

    Raises:
        PictureError: there is no such picture, it cannot be read, or it is of another size than the packet says.
    """
    stem = decoded.path.stem
    original = next((file for suffix in SUFFIXES if (file := pictures / f"{stem}{suffix}").is_file()), None)
    if original is None:
        raise PictureError(f"expected its picture {stem} ({', '.join(SUFFIXES)}) in {pictures}, found none")
    picture = read_picture(original)
    if picture.shape[:2] != decoded.packet.image_size:
        sizes = [f"{height} x {width}" for height, width in (decoded.packet.image_size, picture.shape[:2])]
        raise PictureError(f"{original}: expected {sizes[0]} pixels, as the packet says, found {sizes[1]}")
    with whole_file(folder / f"{stem}.jpg") as file:
        decoded.detections.draw(picture, decoded.model.class_names).save(file, format="JPEG", quality=92)
