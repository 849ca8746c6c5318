"""File names and texts of others that a terminal would obey: they never reach it as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from keyfpn.detector.model import Model
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.packet import Packet
from keyfpn.reconstruct.registry import open_encoder

if TYPE_CHECKING:
    from tests.commands import Outcome

Edge = Callable[..., "Outcome"]
# Clears the screen; sets the terminal's title; goes back over the line; turns what follows around; a C1 escape; rich's
# markup; and bytes that are no UTF-8.
NAMES = (
    "a\x1b[2Jb",
    "t\x1b]0;title\x07t",
    "r\rback\bspace",
    "u\u202eturned",
    "c\x9b31mone",
    "m[red]arkup[bold",
    os.fsdecode(b"l\xe9atin"),
)
OPTIONS = ("--codec", "raw:levels=p5")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of small pictures with such names, and of files with such names that are none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (96, 64)).save(folder / f"{name}.png")
        (folder / f"{name} bad.jpg").write_bytes(b"no picture")
    return folder


def assert_harmless(outcome: Outcome) -> None:
    for text in (outcome.out, outcome.err):
        assert not {character for character in text if not character.isprintable()} - {"\n"}


def assert_shows_the_names(text: str) -> None:
    for shown in (
        r"a\x1b[2Jb",
        r"t\x1b]0;title\x07t",
        r"u\u202eturned",
        r"c\x9b31mone",
        "m[red]arkup[bold",
        r"l\udce9atin",
    ):
        assert shown in text


def test_encode(edge: Edge, hostile: Path, tmp_path: Path) -> None:
    outcome = edge("encode", hostile, tmp_path / "none\x1b[2J", "--out", tmp_path / "out\x1b[2J", *OPTIONS)
    assert outcome.code == 1
    assert_harmless(outcome)
    assert_shows_the_names(outcome.out)
    assert_shows_the_names(outcome.err)
    assert len(outcome.err.splitlines()) == len(NAMES) + 1
    written = {path.stem for path in (tmp_path / "out\x1b[2J").iterdir()}
    assert written == set(NAMES)


def test_encode_for_machines(edge: Edge, hostile: Path, tmp_path: Path) -> None:
    outcome = edge("encode", hostile, "--out", tmp_path / "out", *OPTIONS, "--json")
    assert_harmless(outcome)
    assert outcome.out.isascii()
    assert {record["name"] for record in outcome.records[:-1]} == set(NAMES)


def test_send(edge: Edge, fake_server, hostile: Path) -> None:
    def refuse(frames: Iterable[wire.Frame]) -> Iterator[wire.FrameResult]:
        for frame in frames:
            packet = Packet.parse(frame.packet)
            error = wire.FrameError(kind="X\x1b[2J", message="not\x1b[2J today\nnor\rtomorrow")
            yield wire.FrameResult(stream_id=packet.stream_id, frame_id=packet.frame_id, error=error)

    outcome = edge("send", hostile, "--server", fake_server(refuse).address, *OPTIONS)
    assert outcome.code == 1
    assert_harmless(outcome)
    assert_shows_the_names(outcome.out)
    assert_shows_the_names(outcome.err)
    assert outcome.err.count(r"the server refused the packet: not\x1b[2J today nor tomorrow") == len(NAMES)
    assert len(outcome.err.splitlines()) == 2 * len(NAMES)


def test_a_server_whose_models_have_such_names(edge: Edge, fake_server, hostile: Path) -> None:
    server = fake_server(models=[wire.Model(name="a\x1b[2Jb", fingerprint=bytes(8))])
    outcome = edge("send", hostile, "--server", server.address, *OPTIONS)
    assert outcome.code == 3
    assert_harmless(outcome)
    assert r"found a\x1b[2Jb (fingerprint 0000000000000000)" in outcome.err


def test_inspect(edge: Edge, make_packet: Callable[..., Packet], tmp_path: Path) -> None:
    data = replace(make_packet(), fingerprint=bytes(8)).serialize()
    texts = []
    for name in NAMES:
        good, corrupt = tmp_path / f"{name}.kfpn", tmp_path / f"{name} bad.kfpn"
        good.write_bytes(data)
        corrupt.write_bytes(data[:-1] + b"?")
        for path, code in ((good, 0), (corrupt, 1), (tmp_path / f"{name} none.kfpn", 1)):
            outcome = edge("inspect", path)
            assert outcome.code == code
            assert_harmless(outcome)
            texts.append(outcome.err if code else outcome.out)
    for which in range(3):
        assert_shows_the_names("".join(texts[which::3]))


@pytest.mark.parametrize("of_the_model", [True, False])
def test_inspect_with_a_model_of_such_a_name(
    edge: Edge, unfitted_model: Model, tmp_path: Path, of_the_model: bool
) -> None:
    folder = tmp_path / "mod\x1b[2J[red]el"
    folder.mkdir()
    assert unfitted_model.folder is not None
    for path in unfitted_model.folder.iterdir():
        (folder / path.name).symlink_to(path)
    encoder = open_encoder("raw:levels=p5", unfitted_model)
    packet = encoder.packet({"p5": np.zeros((128, 1, 1), np.float32)}, image_size=(32, 32), network_size=(32, 32))
    packet = packet if of_the_model else replace(packet, fingerprint=bytes(8))
    (tmp_path / "packet.kfpn").write_bytes(packet.serialize())
    outcome = edge("inspect", tmp_path / "packet.kfpn", "--detector", folder)
    assert (outcome.code, outcome.err) == (0, "")
    assert_harmless(outcome)
    assert r"mod\x1b[2J[red]el" in outcome.out
