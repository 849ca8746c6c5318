"""What the two commands do, once their options are read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from keyfpn.console.progress import track
from keyfpn.console.results import CocoResults, OutputFolder, ResultError
from keyfpn.detector.errors import ModelError, PictureError
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.precision import Precision
from keyfpn.protocol.errors import ProtocolError

from . import listen
from .decode import decode_file, draw_into, find_packets
from .decode_report import DecodeReport
from .engine.inference import Inference
from .engine.local import LocalEngine
from .errors import PacketFileError
from .held import HeldModels
from .observe.base import Observer
from .pipeline import Server

_WORKERS = 2
"""Frames in work at a time: while one is in the network, the other can be unpacked, which takes one core alone."""


def open_models(names: Sequence[str], weights: Path | None) -> list[Model]:
    """Open models.

    Args:
        names: published models, by name or folder; with ``weights`` one detectron2 config.
        weights: of that config.

    Raises:
        ModelError: there is no such model.
    """
    if weights is not None and len(names) > 1:
        raise ModelError(str(weights), "one config for these weights", ", ".join(names), "Publish the models instead.")
    return [open_model(name, weights) for name in names]


def serve(
    held: HeldModels,
    host: str,
    port: int,
    *,
    observer: Observer,
    precision: Precision,
    device: str,
    threads: int | None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        held: models, codecs and limits.
        host: name or address to listen on.
        port: 0 takes a free one.
        observer: told of the start and of every stream.
        precision: of convolutions and matrix products.
        device: as torch names devices.
        threads: CPU threads to compute with; torch's choice, one per core, if None.

    Raises:
        ListenError: the address cannot be listened on.
        ModelError: there is no such device, or a network cannot be built.
    """
    threads = threads or torch.get_num_threads()
    workers = min(_WORKERS, threads)
    torch.set_num_threads(threads // workers)
    engine = LocalEngine(held, Inference(held, precision=precision, device=device), workers=workers)
    asyncio.run(listen.serve(engine, host, port, observer=observer, workers=workers))


def decode(
    server: Server,
    packets: Sequence[Path],
    report: DecodeReport,
    *,
    coco: Path | None,
    pictures: Path | None,
    drawn: Path | None,
) -> None:
    """Decode packet files; one that fails does not keep the others.

    Args:
        server: what answers packets.
        packets: files, and folders of them.
        report: told of every packet.
        coco: where to write COCO results.
        pictures: folder of the original pictures.
        drawn: folder to write annotated pictures to; needs `pictures`.

    Raises:
        PacketFileError: a folder holds no packets.
        ResultError: no COCO file can be where it is wanted.
        OSError: a result cannot be written.
    """
    paths = find_packets(packets)
    with ExitStack() as files:
        folder = OutputFolder(drawn, ".jpg") if drawn else None
        results = files.enter_context(CocoResults(coco)) if coco else None  # last: what is open is completed
        for path in track(paths, len(paths), "decode", lines=False):
            try:
                decoded = decode_file(server, path)
                if results:
                    results.add(decoded.detections, decoded.packet.frame_id, str(path))
                if folder and pictures:
                    draw_into(decoded, pictures, folder)
                report.decoded(decoded)
            except (ProtocolError, PacketFileError, ResultError, PictureError, OSError) as error:
                report.failed(path, error)
    report.finished()
