"""What the three commands do, once their options are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from keyfpn.detector.model import DetectorModel
from keyfpn.detector.split import Precision
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.codec import build_codec, default_codec

from .client import DetectionClient
from .display import (
    ANSWER_HEADING,
    answer_line,
    console,
    fields_table,
    levels_lines,
    levels_table,
    packets_table,
    progress_bar,
    summary_line,
)
from .encoder import EdgeEncoder
from .exits import Failures
from .in_flight import Answer
from .inspection import inspect_packet
from .outputs import PACKET_SUFFIX, OutputFolder, ResultFiles
from .records import Summary, answer_record, encoded_record, json_line
from .sources import FrameSource


def encode(
    source: FrameSource,
    model: DetectorModel,
    settings: str | None,
    failures: Failures,
    *,
    out: Path,
    precision: Precision,
    as_json: bool,
) -> None:
    """Write a packet per frame, coded as the codec's ``settings`` say.

    Raises:
        ConfigurationError: settings that cannot work.
        OSError: the folder or a file cannot be written.
    """
    codec = build_codec(settings or default_codec(model), model)
    folder = OutputFolder(out, PACKET_SUFFIX)
    encoder = EdgeEncoder(model, codec, precision=precision)
    summary, records = Summary(codec), []
    with progress_bar(lines=as_json) as bar:
        for encoded in encoder.encode_all(bar.track(source, source.total, description="encode"), failures):
            try:
                path = folder.write(encoded.frame.name, encoded.data)
            except ValueError as error:
                failures(str(error))
                continue
            summary.add(encoded)
            record = encoded_record(encoded) | {"file": str(path)}
            if as_json:
                typer.echo(json_line(record))
            else:
                records.append(record)
    if not as_json:
        console().print(packets_table(records))
        typer.echo(levels_lines(codec))
    _print_summary(summary, failures, as_json)


def send(
    source: FrameSource,
    model: DetectorModel,
    settings: str | None,
    failures: Failures,
    *,
    server: str,
    coco: Path | None,
    jsonl: Path | None,
    draw: Path | None,
    precision: Precision,
    as_json: bool,
) -> None:
    """Stream frames; print and keep the answers as they come, and sum them up however the stream ends.

    Raises:
        ConfigurationError: settings that cannot work, or ``server`` is no address.
        ServerError: it is not there, holds another model, or goes away.
        OSError: a result cannot be written.
    """
    codec = build_codec(settings or default_codec(model), model)
    summary = Summary(codec)
    with (
        DetectionClient(server, model, codec) as client,
        ResultFiles(model, coco=coco, jsonl=jsonl, draw=draw) as files,
    ):
        encoder = EdgeEncoder(model, codec, precision=precision, limits=client.limits)
        if not as_json:
            typer.echo(f"{levels_lines(codec)}\n\n{ANSWER_HEADING}")
        try:
            with progress_bar(lines=True) as bar:
                frames = encoder.encode_all(bar.track(source, source.total, description="send"), failures)
                for answer in client.detect(frames):
                    _keep(answer, files, failures)
                    summary.add(answer.sent, answer.round_trip_ms)
                    _print_answer(answer, model, as_json)
        finally:
            _print_summary(summary, failures, as_json)


def _print_answer(answer: Answer, model: DetectorModel, as_json: bool) -> None:
    if as_json:
        typer.echo(json_line(answer_record(answer, model.class_names)))
    else:
        typer.echo(answer_line(answer, model.class_names))


def _keep(answer: Answer, files: ResultFiles, failures: Failures) -> None:
    if answer.detections is None:
        failures(f"{answer.sent.frame.name}: the server refused the packet: {answer.refusal}")
    try:
        files.add(answer)
    except ValueError as error:
        failures(str(error))


def _print_summary(summary: Summary, failures: Failures, as_json: bool) -> None:
    sums = summary.as_dict(failures.count)
    typer.echo(json_line(sums) if as_json else summary_line(sums))


def inspect(path: Path, packet: Packet, size: int, model: DetectorModel, *, as_json: bool) -> None:
    """Print what is in a packet.

    Raises:
        ProtocolError: its codec would not have written it.
    """
    inspection = inspect_packet(packet, size, model)
    if as_json:
        typer.echo(json_line(inspection.as_dict()))
        return
    console().print(fields_table(path.name, inspection), levels_table(inspection))
    if inspection.model is None:
        typer.echo(
            f"made with another model than {model.name} (fingerprint {model.fingerprint.hex()}): give the packet's own "
            "with --detector to see the shapes of its levels and how the others are rebuilt"
        )


def find_source(paths: Sequence[Path], cameras: Sequence[str], failures: Failures) -> FrameSource:
    """Find the inputs; ends with the exit code for failed inputs where there is none left.

    Raises:
        ConfigurationError: none was named.
    """
    if not paths and not cameras:
        raise ConfigurationError("expected pictures, a folder of pictures, a video or --camera, found none")
    source = FrameSource(paths, cameras, report=failures)
    if not source:
        failures.exit()
    return source
