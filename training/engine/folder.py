"""Folders that are whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CARD = "README.md"
"""A model folder's card, and a codec's in its own folder."""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Write a folder under a temporary name beside it.

    Yields:
        The temporary name, where nothing stands yet. What stands there takes the folder's place, also that of an older
        one, when the block ends; the older one stays when the block fails.
    """
    partial, old = (folder.with_name(f".{folder.name}.{what}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
