"""Keeps the edge's resident memory down.

glibc keeps freed blocks for later, and the activations of pictures of ever other sizes fragment what it keeps: 60 COCO
pictures took the bundled detector's edge to 1.08 GB, and with what stands here to 0.9 GB. Elsewhere than on Linux with
glibc, nothing here does anything.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

RESIDENT_TARGET = 850_000_000
_LARGE_BLOCK = 8 << 20
_M_MMAP_THRESHOLD = -3  # malloc.h
_STATM = Path("/proc/self/statm")


def map_large_blocks() -> None:
    """Give blocks of 8 MiB and more mappings of their own from now on, which end when the blocks are freed."""
    _call_glibc("mallopt", _M_MMAP_THRESHOLD, _LARGE_BLOCK)


def release_freed_memory() -> None:
    """Where more than :data:`RESIDENT_TARGET` bytes are resident, give freed blocks back to the system."""
    if sys.platform == "linux" and _resident_bytes() > RESIDENT_TARGET:
        _call_glibc("malloc_trim", 0)


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _call_glibc(function: str, *arguments: int) -> None:
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), function):
        getattr(library, function)(*arguments)
