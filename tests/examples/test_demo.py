from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_shows_the_whole_way_through_two_processes(tmp_path: Path) -> None:
    pytest.importorskip("skimage.data", reason="needs scikit-image's pictures")
    command = [sys.executable, "-m", "examples.demo", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    names = ["astronaut", "chelsea", "coffee", "grace_hopper", "motorcycle_left"]
    for name in names:
        assert re.search(rf"^{name} +\d+ +[\d,]+ +[\d,]+\.\d", done.stdout, re.MULTILINE)
        for kind in ("split", "unsplit"):
            with Image.open(tmp_path / kind / f"{name}.jpg") as drawn:
                drawn.load()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h2>") == len(names)
    assert page.count('<img src="data:image/') == len(names) * (2 + 2 * 5)  # boxes; five levels before and after
    assert "synthesis from y0, y1, y2" in page
    assert "http" not in page  # it needs nothing else
