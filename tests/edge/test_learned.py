"""The learned codec through the commands: encode, inspect, decode."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from keyfpn.detector.model import Model
from keyfpn.edge.cli import main as edge_main
from keyfpn.protocol.packet import Packet
from keyfpn.server.cli import main as server_main

if TYPE_CHECKING:
    from tests.commands import Outcome

Edge = Callable[..., "Outcome"]


@pytest.fixture(scope="module")
def packets(pictures: Path, learned_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packets")
    assert run(edge_main, "encode", pictures, "--out", folder, "--detector", learned_model.folder) == 0
    return folder


def run(main: Callable[[Sequence[str]], NoReturn], *arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def decode(*arguments: object) -> int:
    return run(server_main, "decode", *arguments)


def test_it_is_the_default_of_a_model_that_has_it(packets: Path, learned_model: Model) -> None:
    paths = list(packets.glob("*.kfpn"))
    assert len(paths) == 3
    for path in paths:
        packet = Packet.parse(path.read_bytes())
        assert (packet.codec, packet.quality) == ("learned", 3)
        assert [chunk.level for chunk in packet.chunks] == ["y0", "y1", "y2"]
        assert packet.fingerprint == learned_model.fingerprint


def test_inspect_shows_latents_and_what_is_rebuilt_from_them(packets: Path, edge: Edge, learned_model: Model) -> None:
    packet = packets / "7.kfpn"
    shown = edge("inspect", packet, "--detector", learned_model.folder, "--json")
    assert (shown.code, shown.err) == (0, "")
    (found,) = shown.records
    levels = {level["level"]: level for level in found["levels"]}
    assert list(levels) == ["y0", "y1", "y2", "p2", "p3", "p4", "p5", "p6"]
    assert [level["source"] for level in found["levels"][:3]] == ["sent"] * 3
    assert found["bytes"] == packet.stat().st_size
    assert levels["p2"]["source"] == "synthesis from y0, y1, y2"
    assert levels["p6"]["source"] == "max-pool of the rebuilt p5"


def test_the_server_decodes_what_the_edge_wrote(
    packets: Path, learned_model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(*sorted(packets.glob("*.kfpn")), "--detector", learned_model.folder, "--json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert [json.loads(line)["codec"] for line in captured.out.splitlines()] == ["learned"] * 3


def test_a_server_of_another_model_names_what_it_has(
    packets: Path, unfitted_model: Model, learned_model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode(packets / "7.kfpn", "--detector", unfitted_model.folder) == 1
    expected = f"expected {unfitted_model.fingerprint.hex()} ({unfitted_model.name}), found"
    error = f"error: {packets / '7.kfpn'}: model fingerprint: {expected} {learned_model.fingerprint.hex()}. "
    assert capsys.readouterr().err.startswith(error)


class TestWithoutTheAnalysis:
    """A copy of a model as a server needs it: without the file of the edge."""

    @pytest.fixture
    def folder(self, learned_model: Model, tmp_path: Path) -> Path:
        folder = tmp_path / "servers_copy"
        assert learned_model.folder is not None
        for path in learned_model.folder.rglob("*"):
            name = path.relative_to(learned_model.folder)
            if path.is_file() and name != Path("learned", "analysis.safetensors"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(path)
        return folder

    @pytest.fixture(autouse=True)
    def _no_picture_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(path: Path) -> None:
            pytest.fail(f"{path} was read")

        monkeypatch.setattr("keyfpn.edge.sources.read_picture", read)

    @pytest.mark.parametrize("codec", [("--codec", "learned"), ("--codec", "learned:quality=1"), ()])
    def test_encode_ends_before_any_picture(
        self, edge: Edge, pictures: Path, folder: Path, tmp_path: Path, codec: tuple[str, ...]
    ) -> None:
        outcome = edge("encode", pictures, "--out", tmp_path / "packets", "--detector", folder, *codec)
        missing = folder / "learned" / "analysis.safetensors"
        expected = "expected a file of the model, found No such file or directory. Copy the whole model here."
        assert (outcome.code, outcome.out, outcome.err) == (2, "", f"error: {missing}: {expected}\n")
        assert not (tmp_path / "packets").exists()

    def test_send_sends_nothing_and_writes_nothing(
        self, edge: Edge, fake_server, learned_model: Model, pictures: Path, folder: Path, tmp_path: Path
    ) -> None:
        server = fake_server(model=learned_model)
        files = ("--coco", tmp_path / "coco.json", "--jsonl", tmp_path / "all.jsonl", "--draw", tmp_path / "drawn")
        outcome = edge("send", pictures, "--server", server.address, "--detector", folder, *files)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
        assert "analysis.safetensors: expected a file of the model" in outcome.err
        assert not server.received
        assert list(tmp_path.iterdir()) == [folder]

    def test_the_server_needs_no_analysis(
        self, packets: Path, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert decode(packets / "7.kfpn", "--detector", folder, "--json") == 0
        assert json.loads(capsys.readouterr().out)["codec"] == "learned"

    def test_other_codecs_need_none_either(
        self, edge: Edge, pictures: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        options = ("--detector", folder, "--codec", "raw:levels=p5")
        assert edge("encode", pictures / "7.jpg", "--out", tmp_path / "packets", *options).code == 0
