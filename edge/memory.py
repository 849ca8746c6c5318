"""Keeps the edge's resident memory below 1 GB."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

RESIDENT_TARGET = 900_000_000
_STATM = Path("/proc/self/statm")


def release_freed_memory() -> None:
    """Where more than :data:`RESIDENT_TARGET` bytes are resident, have glibc give freed blocks back to the system.

    glibc keeps them for later, and the activations of pictures of ever other sizes fragment what it keeps: 60 COCO
    pictures took the bundled detector's edge to 1.08 GB, and with this to 0.96 GB, both with torch's compiler
    imported, which ``keyfpn.detector.lean`` keeps out by now. A frame after a release is slower, since its memory is
    new. Elsewhere than on Linux with glibc this does nothing.
    """
    if sys.platform != "linux" or _resident_bytes() <= RESIDENT_TARGET:
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
