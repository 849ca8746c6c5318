"""Reads detector weights without running anything a weights file says.

Three formats: ``.safetensors``, ``.pth`` (``torch.load(weights_only=True)``), and the ``.pkl`` of detectron2's model
zoo, a plain pickle of NumPy arrays, through an unpickler that knows arrays and containers and nothing else.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import WeightsError

SUFFIXES = (".safetensors", ".pth", ".pkl")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a whole detector's weights in place, as float32.

    Args:
        model: the detector, as built from its config.
        path: a ``.safetensors``, ``.pth`` or ``.pkl`` file; zoo files with Caffe2 names are renamed as detectron2 does.

    Raises:
        WeightsError: the file is missing, of another format, holds anything but arrays, or does not fit the model.
    """
    incompatible = DetectionCheckpointer(model)._load_model(read_checkpoint(path))
    shapes = [f"{name}: file {found}, model {want}" for name, found, want in incompatible.incorrect_shapes]
    for what, keys in (("arrays of another shape", shapes), ("missing arrays", incompatible.missing_keys)):
        if keys:
            more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
            raise WeightsError(str(path), "weights that fit the config", f"{what}: {'; '.join(keys[:5])}{more}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a weights file.

    Args:
        path: the file; its suffix tells the format.

    Returns:
        ``{"model": state dict}``, with the zoo's further keys (``__author__``, ``matching_heuristics``) where present.

    Raises:
        WeightsError: as in :func:`load_weights`, the fit apart.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(str(path), f"a weights file ending in {', '.join(SUFFIXES)}", repr(path.suffix))
    if not path.is_file():
        raise WeightsError(str(path), "a weights file", "none of that name")
    try:
        if path.suffix == ".safetensors":
            return {"model": load_file(path)}
        if path.suffix == ".pth":
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        else:
            checkpoint = _ArrayUnpickler(path.read_bytes()).load()
    except Exception as error:  # a corrupt pickle can make the unpickler trip over its own stack in any way
        reason = error if isinstance(error, (SafetensorError, pickle.UnpicklingError, OSError)) else repr(error)
        raise WeightsError(str(path), f"a readable {path.suffix} weights file", reason) from error
    return _as_checkpoint(checkpoint, path)


def _as_checkpoint(loaded: object, path: Path) -> dict[str, Any]:
    if not isinstance(loaded, dict):
        raise WeightsError(str(path), "a dictionary of arrays", type(loaded).__name__)
    state = loaded.get("model", loaded.get("blobs", loaded))
    if not isinstance(state, dict):
        raise WeightsError(str(path), "a dictionary of arrays under 'model'", type(state).__name__)
    for name, value in state.items():
        numeric = isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")
        if not isinstance(name, str) or not numeric:
            raise WeightsError(str(path), f"a numeric array for {name!r}", type(value).__name__)
    if path.suffix == ".pkl" and "__author__" not in loaded:
        # detectron2 takes a .pkl without an author for a Caffe2 one, and so renames its arrays.
        state = {name: value for name, value in state.items() if not name.endswith("_momentum")}
        return {"model": state, "__author__": "Caffe2", "matching_heuristics": True}
    return {**{k: v for k, v in loaded.items() if k in ("__author__", "matching_heuristics")}, "model": state}


class _Constructor:
    """A callable that a pickle may name; nothing in a pickle can alter it."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("expected arrays, found an attempt to change how they are made")


_NDARRAY = object()  # stands for the class numpy.ndarray, so that a pickle cannot call it


def _empty_array(kind: object, shape: object, _typecode: object) -> NDArray[Any]:
    # Pickled arrays start empty and get shape and bytes together later: anything else could ask for any memory.
    if kind is not _NDARRAY or shape != (0,):
        raise pickle.UnpicklingError(f"expected an empty numpy.ndarray to start from, found shape {shape!r}")
    return np.empty(0, np.uint8)


def _array_of_buffer(
    data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]
) -> NDArray[Any]:
    return np.frombuffer(data, dtype).reshape(shape, order=order)  # how pickle protocol 5 makes arrays


def _dtype(spec: object, *_flags: object) -> np.dtype[Any]:
    if not isinstance(spec, str) or np.dtype(spec).kind not in "biufSU":
        raise pickle.UnpicklingError(f"expected a numeric dtype, found {spec!r}")
    return np.dtype(spec)


def _scalar(dtype: np.dtype[Any], data: bytes | str) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype, count=1)[0]


def _latin1_bytes(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"expected latin1 text, found encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Constructor(_dtype),
    ("collections", "OrderedDict"): _Constructor(OrderedDict),
    ("_codecs", "encode"): _Constructor(_latin1_bytes),
}
for _package in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_package}.multiarray", "_reconstruct"] = _Constructor(_empty_array)
    _ALLOWED[f"{_package}.multiarray", "scalar"] = _Constructor(_scalar)
    _ALLOWED[f"{_package}.numeric", "_frombuffer"] = _Constructor(_array_of_buffer)


# The pure-Python unpickler: the C one keeps its memo in an array, which one large index in a file can blow up.
class _ArrayUnpickler(pickle._Unpickler):
    """Unpickles NumPy arrays, numbers, text and builtin containers; any other global is refused unread."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"expected NumPy arrays and plain containers alone, found a reference to {module}.{name}; nothing of "
                "the file was run"
            ) from None

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError(f"expected a self-contained file, found a persistent id {pid!r}")
