"""What the three commands do, once their options are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from keyfpn.console.exits import Failures
from keyfpn.console.progress import output, track
from keyfpn.console.records import json_line
from keyfpn.console.results import OutputFolder, ResultError
from keyfpn.console.text import printable
from keyfpn.detector.model import Model
from keyfpn.detector.precision import Precision
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.packet import Packet

from .client import Client
from .display import ANSWER_HEADING, answer_line, fields_table, levels_lines, levels_table, packets_table, summary_line
from .in_flight import Answer
from .inspection import inspect_packet
from .outputs import PACKET_SUFFIX, ResultFiles
from .pipeline import Edge, EncodedFrame
from .records import Summary, answer_record, encoded_record
from .sources import FrameSource


def encode(source: FrameSource, edge: Edge, failures: Failures, *, out: Path, as_json: bool) -> None:
    """Write a packet per frame.

    Raises:
        OSError: the folder or a file cannot be written.
    """
    folder = OutputFolder(out, PACKET_SUFFIX)
    summary = Summary(edge.encoder)
    records: list[dict[str, Any]] = []
    for encoded in edge.encode_all(track(source, source.total, "encode", lines=as_json), failures):
        try:
            path = folder.write(encoded.frame.name, encoded.data)
        except ResultError as error:
            failures(error)
            continue
        summary.add(encoded)
        record = encoded_record(encoded) | {"file": str(path)}
        if as_json:
            typer.echo(json_line(record))
        else:
            records.append(record)
    if not as_json:
        output().print(packets_table(records))
        typer.echo(levels_lines(edge.encoder))
    _print_summary(summary, failures, as_json)


def send(
    source: FrameSource,
    model: Model,
    codec: str | None,
    failures: Failures,
    *,
    server: str,
    files: ResultFiles,
    precision: Precision,
    device: str,
    as_json: bool,
) -> None:
    """Stream frames; print and keep the answers as they come, and sum them up however the stream ends.

    Raises:
        ConfigurationError: settings that cannot work, or ``server`` is no address.
        ServerError: it is not there, holds another model, or goes away.
        OSError: a result cannot be written.
    """
    with Client(server, model, codec) as client:
        edge = Edge(model, codec, precision=precision, device=device, limits=client.limits)
        summary = Summary(edge.encoder)
        with files:  # once all is there that frames need: before, there is nothing to write
            if not as_json:
                typer.echo(f"{levels_lines(edge.encoder)}\n\n{ANSWER_HEADING}")
            try:
                frames = edge.encode_all(track(source, source.total, "send", lines=True), failures)
                for answer in client.detect(frames):
                    sent = answer.sent
                    assert isinstance(sent, EncodedFrame)  # as all that were given to the client
                    _keep(sent, answer, files, failures)
                    summary.add(sent, answer.round_trip_ms)
                    typer.echo(json_line(answer_record(sent, answer)) if as_json else answer_line(sent, answer))
            finally:
                _print_summary(summary, failures, as_json)


def _keep(sent: EncodedFrame, answer: Answer, files: ResultFiles, failures: Failures) -> None:
    if answer.detections is None:
        failures(f"{sent.frame.name}: the server refused the packet: {answer.refusal}")
    try:
        files.add(sent, answer)
    except ResultError as error:
        failures(error)


def _print_summary(summary: Summary, failures: Failures, as_json: bool) -> None:
    sums = summary.as_dict(failures.count)
    typer.echo(json_line(sums) if as_json else summary_line(sums))


def inspect(path: Path, packet: Packet, size: int, model: Model, *, as_json: bool) -> None:
    """Print what is in a packet.

    Raises:
        ProtocolError: its codec would not have written it.
    """
    inspection = inspect_packet(packet, size, model)
    if as_json:
        typer.echo(json_line(inspection.as_dict()))
        return
    output().print(fields_table(path.name, inspection), levels_table(inspection))
    if inspection.model is None:
        other = f"{printable(model.name)} (fingerprint {model.fingerprint.hex()})"
        typer.echo(
            f"made with another model than {other}: give the packet's own with --detector to see the shapes of its "
            "levels and how the others are rebuilt"
        )


def find_source(paths: Sequence[Path], cameras: Sequence[str], failures: Failures) -> FrameSource:
    """Find the inputs; ends with the exit code for failed inputs where there is none left.

    Raises:
        ConfigurationError: none was named.
    """
    if not paths and not cameras:
        raise ConfigurationError("inputs", "pictures, a folder of pictures, a video or --camera", "none")
    source = FrameSource(paths, cameras, report=failures)
    if not source:
        failures.exit()
    return source
