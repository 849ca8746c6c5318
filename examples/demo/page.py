"""The demo's page: unsplit and split boxes side by side, the levels as heat maps, and the bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

from keyfpn.benchmarks.rate.baselines import Baseline
from keyfpn.console.drawing import DRAWN_SCORE, draw
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.prepare import read_picture
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.network import build_network
from keyfpn.detector.torch.results import to_detections
from keyfpn.detector.torch.server_half import ServerHalf
from keyfpn.reconstruct.registry import open_encoder

JPEG = Baseline("jpeg", 85, "4:2:0", "network")
_TEMPLATES = Path(__file__).with_name("templates")
_SHOWN_SIDE = 560
_HEAT_MAP_HEIGHT = 120


@dataclass(frozen=True)
class Level:
    """A level's heat maps, before and after the wire, and how it came back."""

    name: str
    shape: str
    how: str
    true_map: str
    rebuilt_map: str


@dataclass(frozen=True)
class Section:
    """All that the page shows of one picture; pictures are data URLs."""

    name: str
    unsplit: str
    split: str
    unsplit_boxes: int
    split_boxes: int
    levels: list[Level]
    raw_bytes: int
    packet_bytes: int
    jpeg_bytes: int
    edge_ms: float
    server_ms: float


def write_page(out: Path, pictures: Sequence[Path], answers: Sequence[Mapping[str, Any]], codec: str) -> Path:
    """Detect without a split, take the levels through the codec again for the heat maps, and write the page.

    Args:
        out: its folder; ``split/`` there holds the annotated pictures of the edge process, ``unsplit/`` gets ours.
        pictures: the files that were sent.
        answers: the edge process's JSON Lines of the same pictures.
        codec: its codec settings.

    Returns:
        ``report.html``, self-contained.
    """
    model = open_model()
    by_name = {answer["name"]: answer for answer in answers if answer["event"] == "frame"}
    way = _Way(model, codec)
    sections = [way.section(path, by_name[path.stem], out) for path in pictures]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True)
    html = environment.get_template("page.html").render(sections=sections, codec=codec, jpeg=JPEG, model=model)
    page = out / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


class _Way:
    """The way of a picture in one process, with every stage kept."""

    def __init__(self, model: Model, codec: str) -> None:
        self._model = model
        self._encoder = open_encoder(codec, model)
        network = build_network(model)
        self._edge = EdgeHalf(network, [*model.pyramid.levels, *self._encoder.reads])
        self._server = ServerHalf(network)
        self._analysis = self._encoder.codec.analysis(self._encoder)
        self._decoder, self._rebuilder = self._encoder.codec.decoder(), self._encoder.codec.rebuilder()

    def section(self, path: Path, answer: Mapping[str, Any], out: Path) -> Section:
        picture = read_picture(path)
        preprocessor, image_size = self._model.preprocessor, (picture.shape[0], picture.shape[1])
        resized = preprocessor.resize(picture)
        network_size = (resized.shape[0], resized.shape[1])
        features = self._edge(preprocessor.to_input(resized))
        arrays = self._analysis.arrays(features)
        packet = self._encoder.packet(arrays, image_size=image_size, network_size=network_size)
        rebuilt = self._rebuilder.rebuild([self._decoder.unpack(packet)])
        (instances,) = self._server(features, [network_size], [image_size])
        found = to_detections(instances, self._model.labels)
        drawn = draw(found, picture)
        (out / "unsplit").mkdir(exist_ok=True)
        drawn.save(out / "unsplit" / f"{path.stem}.jpg", quality=92)
        with Image.open(out / "split" / f"{path.stem}.jpg") as split:
            split_url = _jpeg_url(split)
        return Section(
            name=path.name,
            unsplit=_jpeg_url(drawn),
            split=split_url,
            unsplit_boxes=len(found.above(DRAWN_SCORE)),
            split_boxes=sum(detection["score"] >= DRAWN_SCORE for detection in answer["detections"]),
            levels=self._levels(features, rebuilt),
            raw_bytes=self._model.geometry(network_size).raw_bytes(),
            packet_bytes=answer["bytes"],
            jpeg_bytes=len(JPEG.encode(resized)),
            edge_ms=sum(answer["edge_ms"].values()),
            server_ms=answer["server_ms"],
        )

    def _levels(self, features: Mapping[str, Tensor], rebuilt: Mapping[str, Tensor]) -> list[Level]:
        provenance = self._encoder.codec.provenance(self._encoder.inputs)
        return [
            Level(
                name=level,
                shape=" × ".join(map(str, features[level].shape[1:])),
                how=provenance[level],
                true_map=_heat_map(features[level], features[level]),
                rebuilt_map=_heat_map(rebuilt[level], features[level]),
            )
            for level in self._model.pyramid.levels
        ]


def _heat_map(feature: Tensor, scale: Tensor) -> str:
    """The mean magnitude over channels, coloured on the scale of another feature, as a data URL."""
    values, reference = (tensor[0].abs().mean(0).numpy() for tensor in (feature, scale))
    low, high = np.percentile(reference, (1, 99))
    coloured = matplotlib.colormaps["viridis"](np.clip((values - low) / max(high - low, 1e-9), 0, 1), bytes=True)
    image = Image.fromarray(coloured[:, :, :3])
    width = round(_HEAT_MAP_HEIGHT * image.width / image.height)
    return _url(image.resize((width, _HEAT_MAP_HEIGHT), Image.Resampling.NEAREST), "PNG")


def _jpeg_url(image: Image.Image) -> str:
    shown = image.copy()
    shown.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return _url(shown, "JPEG")


def _url(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
