"""JSON Lines: what machines read of every command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keyfpn.protocol.detections import Detections
from keyfpn.protocol.packet import Packet


def json_line(record: Mapping[str, Any]) -> str:
    """One line of JSON Lines, in ASCII, so that no locale and no terminal can spoil it."""
    return json.dumps(record)


def stream_id(number: int) -> str:
    """A stream's id in records: 16 hexadecimal digits. JSON numbers are exact to 2**53 in many readers."""
    return f"{number:016x}"


def frame_id(number: int) -> str:
    """A frame's id in records: decimal text, as in file names; COCO files have it as a number."""
    return str(number)


def packet_record(packet: Packet, size: int) -> dict[str, Any]:
    """What every record tells of a packet of ``size`` bytes."""
    return {
        "stream_id": stream_id(packet.stream_id),
        "frame_id": frame_id(packet.frame_id),
        "codec": packet.codec,
        "quality": packet.quality,
        "bytes": size,
        "image_size": list(packet.image_size),
        "network_size": list(packet.network_size),
    }


def detections_record(found: Detections) -> list[dict[str, Any]]:
    """Class name, score and box (x0, y0, x1, y1 in pixels) of each object."""
    rows = zip(found.names, found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [{"class": name, "score": score, "box": box} for name, score, box in rows]
