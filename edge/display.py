"""What people see of packets and answers: a line per frame as it is answered, tables, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from keyfpn.console.records import frame_id, stream_id
from keyfpn.console.tables import ratio
from keyfpn.console.text import printable
from keyfpn.reconstruct.codec import Encoder

from .in_flight import Answer
from .inspection import Inspection
from .pipeline import EncodedFrame

_NAME_WIDTH = 24
_SHOWN_BOXES = 3

ANSWER_HEADING = (
    f"{'frame':<{_NAME_WIDTH}} {'boxes':>5} {'bytes':>11} {'ratio':>9} {'edge ms':>8} {'trip ms':>8}  best boxes"
)


def answer_line(sent: EncodedFrame, answer: Answer) -> str:
    """One line under :data:`ANSWER_HEADING`."""
    found = answer.detections
    if found is None:
        boxes, best = "-", "refused"
    else:
        shown = zip(found.names[:_SHOWN_BOXES], found.scores[:_SHOWN_BOXES].tolist(), strict=True)
        boxes, best = str(len(found)), ", ".join(f"{name} {score:.2f}" for name, score in shown)
    return printable(
        f"{sent.frame.name:<{_NAME_WIDTH}} {boxes:>5} {len(sent.data):>11,} {ratio(sent.compression_ratio):>9} "
        f"{sent.times.total:>8.1f} {answer.round_trip_ms:>8.1f}  {best}"
    )


def packets_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Packets and what each cost, of what ``encoded_record`` gives and the ``file``."""
    table = Table(title="packets", title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("bytes", "compression ratio", "prepare ms", "network ms", "code ms"):
        table.add_column(heading, justify="right")
    for record in records:
        milliseconds = (f"{record['edge_ms'][stage]:.1f}" for stage in ("prepare", "network", "code"))
        table.add_row(
            Text(printable(Path(record["file"]).name)),
            f"{record['bytes']:,}",
            ratio(record["compression_ratio"]),
            *milliseconds,
        )
    return table


def levels_lines(encoder: Encoder) -> str:
    """The codec, and how each level gets to the server."""
    provenance = encoder.codec.provenance(encoder.inputs)
    return "\n".join([f"codec {encoder.settings}", *(f"  {level}: {source}" for level, source in provenance.items())])


def summary_line(summary: Mapping[str, Any]) -> str:
    """A run in one line; takes what ``Summary.as_dict`` gives."""
    parts = [f"{summary['frames']} frames"]
    if summary["failed"]:
        parts.append(f"{summary['failed']} failed")
    if summary["frames"]:
        parts.append(f"{summary['mean_bytes']:,.0f} bytes each")
        parts.append(f"compression ratio {ratio(summary['compression_ratio'])}")
        if summary["mbit_per_s"] is not None:
            parts.append(f"{summary['mbit_per_s']:.3f} Mbit/s")
        parts.append(f"p50 {summary['edge_ms_p50']:.1f} ms on the edge")
        if summary["round_trip_ms_p50"] is not None:
            parts.append(f"p50 {summary['round_trip_ms_p50']:.1f} ms round trip")
    return "; ".join(parts)


def fields_table(name: str, inspection: Inspection) -> Table:
    """The packet's header."""
    packet = inspection.packet
    model = f", model {inspection.model}" if inspection.model else ""
    rows = {
        "size": f"{inspection.size:,} bytes, {inspection.header_bytes} of them outside the levels",
        "codec": f"{packet.codec}, quality {packet.quality}",
        "fingerprint": f"{packet.fingerprint.hex()}{model}",
        "stream id, frame id": f"{stream_id(packet.stream_id)}, {frame_id(packet.frame_id)}",
        "captured": _time(packet.capture_time),
        "image size": f"{packet.image_size[0]} x {packet.image_size[1]} (height x width)",
        "network size": f"{packet.network_size[0]} x {packet.network_size[1]}",
        "extensions": ", ".join(f"type {kind}: {len(data)} bytes" for kind, data in packet.extensions) or "none",
    }
    if inspection.compression_ratio:
        whole = f"the pyramid as float32 takes {inspection.raw_bytes:,} bytes"
        rows["compression ratio"] = f"{ratio(inspection.compression_ratio)}; {whole}"
    table = Table(title=Text(printable(name)), title_justify="left", show_header=False)
    for field, value in rows.items():
        table.add_row(field, Text(printable(value)))
    return table


def levels_table(inspection: Inspection) -> Table:
    """The packet's levels."""
    table = Table(title="levels", title_justify="left")
    for heading in ("level", "coder", "quantization"):
        table.add_column(heading)
    for heading in ("header bytes", "payload bytes", "elements", "bits / element", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("source")
    for level in inspection.levels:
        counts = (level.header_bytes, level.payload_bytes, level.elements)
        ratios = (level.bits_per_element, level.compression_ratio)
        table.add_row(
            *(level.level, level.coder or "", level.quantization or ""),
            *("" if value is None else f"{value:,}" for value in counts),
            *("" if value is None else f"{value:,.2f}" for value in ratios),
            level.source,
        )
    return table


def _time(microseconds: int) -> str:
    try:
        return datetime.fromtimestamp(microseconds / 1e6, timezone.utc).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):  # 64 bits reach beyond the calendar
        return f"{microseconds} microseconds after 1970"
