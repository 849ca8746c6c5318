"""keyfpn as others install it: the sdist, the wheel built from it, and environments with nothing else of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")  # as the Makefile finds it
VERSION = version("keyfpn")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
NO_INDEX = ("error sending request", "Failed to fetch", "Could not connect", "dns error")

pytestmark = pytest.mark.skipif(not Path(UV).is_file(), reason="needs uv, which make fetches")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} left with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


class Environment:
    """A fresh environment of the Python that runs the tests."""

    def __init__(self, folder: Path) -> None:
        run(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, folder)
        self.scripts, self.python = folder / "bin", folder / "bin" / "python"
        (self.packages,) = folder.glob("lib/python*/site-packages")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist: uv makes first the one, then from it the other."""
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    assert (folder / f"keyfpn-{VERSION}.tar.gz").is_file()
    return folder / f"keyfpn-{VERSION}-py3-none-any.whl"


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A folder whose own modules are named like rooms of keyfpn, and must not be imported in their place."""
    folder = tmp_path / "hostile"
    for module in ("server.py", "edge/__init__.py", "training/__init__.py", "models/__init__.py"):
        path = folder / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise RuntimeError('{module} is not of keyfpn')\n")
    return folder


def source_files() -> Iterator[str]:
    """What `import keyfpn` finds in the repository, through the links, less the results of benchmarks."""
    source = ROOT / "src"
    for folder, _, files in os.walk(source / "keyfpn", followlinks=True):
        place = Path(folder).relative_to(source)
        if "__pycache__" not in place.parts and place.parts[:3] != ("keyfpn", "benchmarks", "results"):
            yield from ((place / file).as_posix() for file in files)


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(names) == sorted(set(names))
    assert {name for name in names if not name.startswith(f"keyfpn-{VERSION}.dist-info/")} == set(source_files())


def test_a_picture_is_encoded_and_decoded_beside_modules_of_the_same_names(
    wheel: Path, hostile_folder: Path, tmp_path: Path
) -> None:
    fresh = Environment(tmp_path / "fresh")
    before = set(fresh.packages.iterdir())
    run(UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", fresh.python, wheel)
    gained = {path.name for path in set(fresh.packages.iterdir()) - before}
    assert gained == {"keyfpn", f"keyfpn-{VERSION}.dist-info"}

    # Packages of others are those of the environment that runs the tests. Its own .pth file, and so the keyfpn of this
    # repository, is not read from there.
    (fresh.packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    found = run(fresh.python, "-c", "import keyfpn; print(keyfpn.__file__, keyfpn.__version__)", cwd=hostile_folder)
    assert found.split() == [str(fresh.packages / "keyfpn" / "__init__.py"), VERSION]

    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(hostile_folder / "picture.png")
    assert "encode" in run(fresh.scripts / "keyfpn-edge", "--help", cwd=hostile_folder)
    run(fresh.scripts / "keyfpn-edge", "encode", "picture.png", "--out", "packets", cwd=hostile_folder)
    assert (hostile_folder / "packets" / "picture.kfpn").is_file()
    assert "picture" in run(fresh.scripts / "keyfpn-server", "decode", "packets", cwd=hostile_folder)


IMPORT_PROTOCOL = """
import importlib, pkgutil, sys
import keyfpn.protocol
for module in pkgutil.iter_modules(keyfpn.protocol.__path__, "keyfpn.protocol."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("keyfpn.protocol.")]))
"""


def test_the_plain_install_needs_no_extra_for_the_protocol_and_for_help(
    wheel: Path, hostile_folder: Path, tmp_path: Path
) -> None:
    plain = Environment(tmp_path / "plain")
    command = (UV, "pip", "install", "--quiet", "--python", plain.python, "-c", "packaging/constraints.txt", wheel)
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode and any(text in done.stderr for text in NO_INDEX):
        pytest.skip(f"no package index answers: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert not (plain.packages / "torch").exists()

    assert run(plain.scripts / "keyfpn", "--version", cwd=hostile_folder) == f"keyfpn {VERSION}\n"
    for name in ("edge", "server", "train", "bench"):
        assert f"Usage: keyfpn-{name} " in run(plain.scripts / f"keyfpn-{name}", "--help", cwd=hostile_folder)
    run(plain.python, "-c", "import keyfpn; import keyfpn.protocol.packet", cwd=hostile_folder)
    assert int(run(plain.python, "-c", IMPORT_PROTOCOL, cwd=hostile_folder)) > 15

    Image.new("RGB", (120, 90)).save(hostile_folder / "picture.png")
    encode = (plain.scripts / "keyfpn-edge", "encode", "picture.png", "--out", "packets")
    done = subprocess.run(encode, cwd=hostile_folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'keyfpn[torch]'" in done.stderr
