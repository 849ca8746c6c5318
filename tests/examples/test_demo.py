from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["astronaut", "chelsea", "coffee", "grace_hopper", "motorcycle_left"]
SHOWN = {"skimage.data": ("chelsea.png",), "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",)}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package, which is not installed: it is found from the repository's root."""
    pytest.importorskip("skimage.data", reason="needs scikit-image's pictures")
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("examples.demo.__main__")


def test_the_demo_shows_the_whole_way_through_two_processes(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_module("examples.demo.pictures"), "SOURCES", SHOWN)  # one of each package
    done = CliRunner().invoke(demo.app, ["--out", str(tmp_path)], catch_exceptions=False)
    said, complaints = capfd.readouterr()  # of the processes
    assert done.exit_code == 0, complaints
    names = ["chelsea", "grace_hopper"]
    for name in names:
        assert re.search(rf"^{name} +\d+ +[\d,]+ +[\d,.]+ +\d+\.\d", said, re.MULTILINE)
        for kind in ("split", "unsplit"):
            with Image.open(tmp_path / kind / f"{name}.jpg") as drawn:
                drawn.load()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h2>") == len(names)
    assert page.count('<img src="data:image/') == len(names) * (2 + 2 * 5)  # boxes; five levels before and after
    assert "synthesis from y0, y1, y2" in page
    assert "http" not in page  # it needs nothing else


def test_all_of_its_pictures_are_there(demo: ModuleType, tmp_path: Path) -> None:
    found = demo.collect_pictures(tmp_path / "pictures")
    assert [path.stem for path in found] == NAMES
    for path in found:
        with Image.open(path) as picture:
            picture.load()


def test_it_starts_from_the_repositorys_root() -> None:
    command = [sys.executable, "-m", "examples.demo", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "python -m examples.demo --out demo-output" in done.stdout
