"""What the README shows works: its Python runs, its commands are understood, and those of the first steps are run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
APPS = {"keyfpn-edge": "edge", "keyfpn-server": "server", "keyfpn-bench": "benchmarks", "keyfpn-train": "training"}
ADDRESS = "localhost:50051"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


PYTHON = blocks("python")
COMMANDS = [
    command
    for block in blocks("sh")
    for line in block.replace("\\\n", " ").splitlines()
    if (command := line.partition("#")[0].strip()).startswith("keyfpn-")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Path:
    """Where a reader would stand: with pictures, and a folder of them."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "photos").mkdir()
    for path in ("street.jpg", "harbour.jpg", "photos/street.jpg", "photos/harbour.jpg"):
        part = photo[:128, 80:272] if "street" in path else photo[200:360, 100:]
        Image.fromarray(part).save(folder / path)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [Path(sys.executable).with_name("keyfpn-server"), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
        yield f"{event['host']}:{event['port']}"
        process.terminate()


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) == 3
    assert {command.split()[0] for command in COMMANDS} == set(APPS)


def test_the_python_runs(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one_process, over_the_network, elsewhere = PYTHON
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(one_process, names)
    assert "person" in capsys.readouterr().out
    assert ADDRESS in over_the_network
    exec(over_the_network.replace(ADDRESS, server), {})
    assert len(capsys.readouterr().out.splitlines()) == 2
    # supervision is no dependency: this is what its Detections takes.
    made = {}
    exec(elsewhere, {**names, "supervision": SimpleNamespace(Detections=lambda **parts: made.update(parts))})
    count = len(made["xyxy"])
    assert count
    assert made["xyxy"].shape == (count, 4)
    assert made["confidence"].shape == made["class_id"].shape == (count,)
    assert np.issubdtype(made["class_id"].dtype, np.integer)
    assert len(made["data"]["class_name"]) == count


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_understood(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option exists, takes such a value, and nothing that is required is missing."""
    monkeypatch.chdir(folder)
    program, *arguments = shlex.split(text)
    group = get_command(import_module(f"keyfpn.{APPS[program]}.cli").app)
    with group.make_context(program, arguments) as context:
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        assert name is not None
        command.make_context(name, rest, parent=context)


def test_the_first_steps_lead_where_they_say(folder: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [text for text in COMMANDS if not re.search("models/|runs/|bench|train", text)]
    assert [text.split()[1] for text in steps] == ["serve", "send", "encode", "inspect", "decode"]
    monkeypatch.chdir(folder)
    for text in steps[1:]:  # the server is there
        program, *words = shlex.split(text.replace(ADDRESS, server))
        globbed = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
        with pytest.raises(SystemExit) as ended:
            import_module(f"keyfpn.{APPS[program]}.cli").main([word for words in globbed for word in words])
        assert not ended.value.code, text
    assert {path.name for path in (folder / "drawn").iterdir()} == {"street.jpg", "harbour.jpg"}
    assert {path.name for path in (folder / "packets").iterdir()} == {"street.kfpn", "harbour.kfpn"}
    assert json.loads((folder / "results.json").read_text())
