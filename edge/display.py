"""What people see: a line per frame as it is answered, tables, a summary."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from keyfpn.reconstruct.codec import FeatureCodec

from .in_flight import Answer
from .inspection import Inspection

_WIDTH_IN_A_PIPE = 160
_NAME_WIDTH = 24
_SHOWN_BOXES = 3


def console() -> Console:
    """Standard output."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_IN_A_PIPE)


def progress_bar(*, lines: bool) -> Progress:
    """A bar on standard error, hidden where nobody would see it or where ``lines`` on the same terminal do its work."""
    hidden = not sys.stderr.isatty() or (lines and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True)


ANSWER_HEADING = (
    f"{'frame':<{_NAME_WIDTH}} {'boxes':>5} {'bytes':>11} {'x-fold':>9} {'edge ms':>8} {'trip ms':>8}  best boxes"
)


def answer_line(answer: Answer, class_names: Sequence[str]) -> str:
    """One line under :data:`ANSWER_HEADING`."""
    sent, found = answer.sent, answer.detections
    if found is None:
        boxes, best = "-", "refused"
    else:
        shown = zip(found.classes[:_SHOWN_BOXES].tolist(), found.scores[:_SHOWN_BOXES].tolist(), strict=True)
        boxes, best = str(len(found)), ", ".join(f"{class_names[label]} {score:.2f}" for label, score in shown)
    return (
        f"{sent.frame.name:<{_NAME_WIDTH}} {boxes:>5} {len(sent.data):>11,} {sent.x_fold:>9,.1f} "
        f"{sent.times.total:>8.1f} {answer.round_trip_ms:>8.1f}  {best}"
    )


def packets_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Packets and what each cost, of what ``encoded_record`` gives and the ``file``."""
    table = Table(title="packets", title_justify="left")
    table.add_column("file", overflow="fold")
    for heading in ("bytes", "x-fold", "prepare ms", "network ms", "code ms"):
        table.add_column(heading, justify="right")
    for record in records:
        milliseconds = (f"{record['edge_ms'][stage]:.1f}" for stage in ("prepare", "network", "code"))
        table.add_row(
            Text(Path(record["file"]).name), f"{record['bytes']:,}", f"{record['x_fold']:,.1f}", *milliseconds
        )
    return table


def levels_lines(codec: FeatureCodec) -> str:
    """The codec, and how each level gets to the server."""
    sources = (f"  {level}: {source}" for level, source in codec.provenance().items())
    return "\n".join([f"codec {codec.settings}", *sources])


def summary_line(summary: Mapping[str, Any]) -> str:
    """A run in one line; takes what ``Summary.as_dict`` gives."""
    parts = [f"{summary['frames']} frames"]
    if summary["failed"]:
        parts.append(f"{summary['failed']} failed")
    if summary["frames"]:
        parts.append(f"{summary['mean_bytes']:,.0f} bytes each, {summary['x_fold']:,.1f} x less than fp32 p2..p6")
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
        "stream id, frame id": f"{packet.stream_id}, {packet.frame_id}",
        "captured": _time(packet.capture_time),
        "image size": f"{packet.image_size[0]} x {packet.image_size[1]} (height x width)",
        "network size": f"{packet.network_size[0]} x {packet.network_size[1]}",
        "extensions": ", ".join(f"type {kind}: {len(data)} bytes" for kind, data in packet.extensions) or "none",
    }
    if inspection.x_fold:
        rows["x-fold"] = f"{inspection.x_fold:,.1f} less than fp32 p2..p6, {inspection.raw_bytes:,} bytes"
    table = Table(title=Text(name), title_justify="left", show_header=False)
    for field, value in rows.items():
        table.add_row(field, value)
    return table


def levels_table(inspection: Inspection) -> Table:
    """The packet's levels."""
    table = Table(title="levels", title_justify="left")
    for heading in ("level", "coder", "quantization"):
        table.add_column(heading)
    for heading in ("header bytes", "payload bytes", "elements", "bits / element", "x-fold"):
        table.add_column(heading, justify="right")
    table.add_column("source")
    for level in inspection.levels:
        counts = (level.header_bytes, level.payload_bytes, level.elements)
        ratios = (level.bits_per_element, level.x_fold)
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
