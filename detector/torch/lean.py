"""Keeps torch's compiler out of processes that compile nothing.

torchvision's ``roi_align`` imports ``torch._dynamo`` for one function, which it calls on GPUs with deterministic
algorithms alone. The import takes 160 MB of the edge's memory, and seconds. While ``roi_align`` is imported it gets
that function from here; called, it imports the compiler then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_EAGER, _COMPILER = "torchvision.ops.roi_align", "torch._dynamo.utils"


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _EAGER or _COMPILER in sys.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        stand_in = ModuleType(_COMPILER)
        stand_in.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
        sys.modules[_COMPILER] = stand_in
        try:
            super().exec_module(module)
        finally:
            del sys.modules[_COMPILER]


def _is_compile_supported(device_type: str) -> bool:
    return bool(import_module(_COMPILER).is_compile_supported(device_type))


def install() -> None:
    """Take effect on later imports of torchvision in this process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
