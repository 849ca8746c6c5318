"""What the two commands do, once their options are read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch

from keyfpn.detector.errors import ModelError, PictureError
from keyfpn.detector.model import open_detector
from keyfpn.detector.split import Precision
from keyfpn.protocol.errors import ProtocolError

from . import listen
from .decode import CocoResults, decode_file, draw, find_packets
from .errors import PacketFileError
from .pipeline import DetectionPipeline, limits_for
from .report import Report

_WORKERS = 2
"""Frames in work at a time: while one is in the network, the other can be decoded, which takes one core alone."""


def build_pipeline(
    names: Sequence[str], weights: Path | None, *, precision: Precision, device: str, max_side: int | None
) -> DetectionPipeline:
    """Open models and build them.

    Args:
        names: published models, by name or folder; with ``weights`` one detectron2 config.
        weights: of that config.
        precision: of convolutions and matrix products.
        device: as torch names devices.
        max_side: see :func:`~keyfpn.server.pipeline.limits_for`.

    Raises:
        ModelError: there is no such model or device, or a model cannot be built.
    """
    if weights is not None and len(names) > 1:
        raise ModelError(f"expected one config for {weights}, found {', '.join(names)}: publish the models instead")
    models = [open_detector(name, weights, device=device) for name in names]
    return DetectionPipeline(models, precision=precision, limits=limits_for(models, max_side))


def serve(pipeline: DetectionPipeline, host: str, port: int, report: Report, *, threads: int | None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        pipeline: what answers frames.
        host: name or address to listen on.
        port: 0 takes a free one.
        report: told of the start and of every stream.
        threads: CPU threads to compute with; torch's choice, one per core, if None.

    Raises:
        ListenError: the address cannot be listened on.
    """
    threads = threads or torch.get_num_threads()
    workers = min(_WORKERS, threads)
    torch.set_num_threads(threads // workers)
    asyncio.run(
        listen.serve(
            pipeline,
            host,
            port,
            workers=workers,
            on_listening=lambda bound: report.listening(host, bound, list(pipeline.models.values())),
            on_stream_end=report.stream_ended,
        )
    )


def decode(
    pipeline: DetectionPipeline,
    packets: Sequence[Path],
    report: Report,
    *,
    coco: Path | None,
    pictures: Path | None,
    drawn: Path | None,
) -> int:
    """Decode packet files; one that fails does not keep the others.

    Args:
        pipeline: what answers packets.
        packets: files, and folders of them.
        report: told of every packet.
        coco: where to write COCO results.
        pictures: folder of the original pictures.
        drawn: folder to write annotated pictures to; needs `pictures`.

    Returns:
        How many failed.

    Raises:
        PacketFileError: a folder holds no packets.
        OSError: a result cannot be written.
    """
    paths = find_packets(packets)
    results, failed = CocoResults(), 0
    if drawn is not None:
        drawn.mkdir(parents=True, exist_ok=True)
    for path in report.track(paths):
        try:
            decoded = decode_file(pipeline, path)
            if coco is not None:
                results.add(decoded)
            if drawn is not None and pictures is not None:
                draw(decoded, pictures, drawn)
            report.decoded(decoded)
        except (ProtocolError, PacketFileError, PictureError, OSError) as error:
            failed += 1
            report.failed(path, error)
    if coco is not None:
        results.write(coco)
    report.finished(len(paths) - failed, failed)
    return failed
