"""Pictures that come with packages the project has anyway: scikit-image's and matplotlib's."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

SOURCES = {
    "skimage.data": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}


def collect_pictures(folder: Path) -> list[Path]:
    """Copy the demo's pictures into a folder.

    Returns:
        The copies, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package, names in SOURCES.items():
        for name in names:
            with as_file(files(package).joinpath(name)) as path:
                shutil.copyfile(path, folder / path.name)
    return sorted(folder.iterdir())
