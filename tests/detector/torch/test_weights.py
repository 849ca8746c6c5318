import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from keyfpn.detector.errors import WeightsError
from keyfpn.detector.torch.weights import load_weights, read_checkpoint


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)


STATE = {"conv.weight": np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1), "conv.bias": np.ones(3, np.float32)}


def zoo_bytes(state: object, protocol: int) -> bytes:
    """A pickle in the layout of detectron2's zoo."""
    return pickle.dumps({"model": state, "__author__": "Detectron2 Model Zoo"}, protocol)


class Attack:
    """Calls anything while it is unpickled."""

    def __init__(self, call: object, *arguments: object) -> None:
        self._reduced = (call, arguments)

    def __reduce__(self) -> object:
        return self._reduced


def loaded(path: Path) -> dict[str, torch.Tensor]:
    model = Small()
    load_weights(model, path)
    return model.state_dict()


@pytest.mark.parametrize("pickle_protocol", [0, 1, 2, 3, 4, 5])
def test_reads_a_zoo_pickle(tmp_path: Path, pickle_protocol: int) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(zoo_bytes(OrderedDict(STATE), pickle_protocol))
    for name, value in loaded(path).items():
        assert np.array_equal(value.numpy(), STATE[name])


def test_reads_a_zoo_pickle_of_an_older_numpy(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(zoo_bytes(STATE, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    assert np.array_equal(loaded(path)["conv.weight"].numpy(), STATE["conv.weight"])


def test_renames_a_caffe2_pickle(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    blobs = {"conv_w": STATE["conv.weight"], "conv_b": STATE["conv.bias"], "conv_w_momentum": STATE["conv.weight"]}
    path.write_bytes(pickle.dumps({"blobs": blobs}, 2))
    assert np.array_equal(loaded(path)["conv.weight"].numpy(), STATE["conv.weight"])


def test_reads_pth_and_safetensors(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(value).half() for name, value in STATE.items()}
    torch.save({"model": tensors, "iteration": 7}, tmp_path / "model.pth")
    save_file(tensors, tmp_path / "model.safetensors")
    for name in ("model.pth", "model.safetensors"):
        state = loaded(tmp_path / name)
        assert state["conv.weight"].dtype == torch.float32
        assert np.array_equal(state["conv.weight"].numpy(), STATE["conv.weight"])


def malicious_payloads(trap: Path) -> dict[str, object]:
    return {
        "runs a command": Attack(__import__("os").system, f"touch {trap}"),
        "evaluates": Attack(eval, f"open({str(trap)!r}, 'w')"),
        "calls open": Attack(open, str(trap), "w"),
        "loads a file": Attack(np.load, str(trap)),
        "hides among arrays": {"conv.weight": STATE["conv.weight"], "conv.bias": Attack(print, "x")},
        "allocates by numpy.ndarray": Attack(np.ndarray, (1 << 45,)),
        "allocates by _reconstruct": Attack(np.empty(0).__reduce__()[0], np.ndarray, (1 << 45,), b"b"),
        "abuses a codec": Attack(__import__("_codecs").encode, "x", "rot13"),
        "holds objects": np.array([{}], dtype=object),
    }


@pytest.mark.parametrize("kind", malicious_payloads(Path("unused")))
@pytest.mark.parametrize("pickle_protocol", [2, 4])
def test_malicious_pickle_is_refused_and_does_nothing(tmp_path: Path, kind: str, pickle_protocol: int) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "model.pkl"
    path.write_bytes(zoo_bytes(malicious_payloads(trap)[kind], pickle_protocol))
    with pytest.raises(WeightsError, match=r"model\.pkl"):
        read_checkpoint(path)
    assert not trap.exists()


def test_pickle_that_alters_an_allowed_global_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    # GLOBAL numpy.dtype, EMPTY_DICT with one item, BUILD, STOP
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.")
    with pytest.raises(WeightsError, match="attempt to change"):
        read_checkpoint(path)


def test_huge_memo_index_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")  # LONG_BINPUT 2^31 - 1
    assert read_checkpoint(path)["model"] == {}


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_every_truncation_is_a_clear_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    tensors = {name: torch.from_numpy(value) for name, value in STATE.items()}
    if suffix == ".pkl":
        path.write_bytes(zoo_bytes(STATE, 2))
    elif suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    whole = path.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=f"model{suffix}"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv.weight": STATE["conv.weight"]}, "missing arrays: conv.bias"),
        ({**STATE, "conv.bias": np.ones(4, np.float32)}, "arrays of another shape: conv.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, state: object, message: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(zoo_bytes(state, 2))
    with pytest.raises(WeightsError, match=message):
        load_weights(Small(), path)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "expected a dictionary of arrays"), ({"model": 3}, "under 'model'"), ({"a": "text"}, "numeric array")],
)
def test_other_content_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(path)


def test_missing_file_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model\.pth: expected a weights file, found none of that name"):
        read_checkpoint(tmp_path / "model.pth")
    with pytest.raises(WeightsError, match=r"ending in \.safetensors, \.pth, \.pkl"):
        read_checkpoint(tmp_path / "model.onnx")
