"""The split benchmark for readers and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from keyfpn.console.tables import Table, print_tables
from keyfpn.detector.model import Model

from .codecs import CodecTime
from .split import Difference, EdgeTime


def print_split(
    difference: Difference, edge_times: Sequence[EdgeTime], codec_times: Sequence[CodecTime], console: Console
) -> None:
    """Print the comparison and both tables of times."""
    equal = "equal" if difference.counts_and_classes_equal else "DIFFERENT"
    console.print(
        f"{difference.pictures} pictures, {difference.boxes} boxes: counts and classes {equal}, scores within "
        f"{difference.score:.1e}, boxes within {difference.box_pixels:.1e} pixels of the unsplit detector"
    )
    print_tables([_edge_table(edge_times), _codec_table(codec_times)], console)


def to_dict(
    model: Model,
    difference: Difference,
    edge_times: Sequence[EdgeTime],
    codec_times: Sequence[CodecTime],
) -> dict[str, Any]:
    """For JSON."""
    return {
        "detector": model.name,
        "fingerprint": model.fingerprint.hex(),
        "threads": torch.get_num_threads(),
        "difference": asdict(difference),
        "edge_times": [asdict(time) for time in edge_times],
        "codec_times": [asdict(time) for time in codec_times],
    }


def _edge_table(times: Sequence[EdgeTime]) -> Table:
    rows = [["+".join(t.key_levels), f"{t.edge_ms:.1f}", f"{t.whole_ms:.1f}", f"{t.ratio:.3f}"] for t in times]
    columns = ["key levels", "edge half, ms", "backbone + whole FPN, ms", "ratio"]
    return Table("The edge's half alone (medians)", columns, rows)


def _codec_table(times: Sequence[CodecTime]) -> Table:
    rows = [
        [
            time.settings,
            f"{time.edge_ms:.1f}",
            f"{time.edge_ratio:.3f}",
            f"{time.server_ms:.1f}",
            f"{time.server_ratio:.3f}",
            _milliseconds(time.entropy_encode_ms),
            _milliseconds(time.entropy_decode_ms),
        ]
        for time in times
    ]
    columns = [
        "codec",
        "edge with codec, ms",
        "of backbone + whole FPN",
        "rebuilding, ms",
        "of RPN + ROI heads",
        "entropy encode, ms",
        "entropy decode, ms",
    ]
    return Table("Both ends with a codec (medians)", columns, rows)


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
