from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from keyfpn.training.engine.average import moving_average
from keyfpn.training.engine.checkpoint import TrainingState
from keyfpn.training.engine.errors import CheckpointError

SETTINGS = {"task": "line", "steps": 10, "short_side": (0.5, 1.0), "precision": "fp32"}


def make_state(seed: int = 0, width: int = 3) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Linear(width, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return TrainingState(
        model, moving_average(model, 0.9), optimizer, lambda step, _done: 1 / (1 + step), clip_norm=1.0
    )


def descend(state: TrainingState, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = (state.model(torch.full((4, state.model.in_features), state.step + 1.0)) - 1).square().mean()
        losses.append(loss.item())
        state.descend(loss, 0)
    return losses


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state = make_state()
    descend(state, 5)
    state.seconds = 12.5
    state.save(tmp_path / "checkpoint.pt", SETTINGS)
    return tmp_path / "checkpoint.pt"


def test_a_restored_state_goes_on_as_the_saved_one(saved: Path) -> None:
    unbroken = make_state()
    descend(unbroken, 5)
    restored = make_state(seed=1)
    restored.restore(saved, SETTINGS)
    assert (restored.step, restored.seconds) == (5, 12.5)
    assert descend(restored, 5) == descend(unbroken, 5)
    for name, value in unbroken.average.state_dict().items():
        assert torch.equal(restored.average.state_dict()[name], value)


def test_the_learning_rate_follows_from_the_step_and_what_is_done() -> None:
    state = make_state()
    state.learning_rate = lambda step, done: (1 - done) / (1 + step)
    rates = [state.descend(state.model(torch.ones(1, 3)).sum(), done) for done in (0, 0.5, 0.75)]
    assert rates == pytest.approx([0.1, 0.025, 0.1 / 12])


def test_the_gradient_is_clipped() -> None:
    state = make_state()
    state.descend(1e6 * state.model(torch.ones(1, 3)).sum(), 0)
    norms = [parameter.grad.norm() for parameter in state.model.parameters() if parameter.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(1.0, rel=1e-4)


def test_a_write_that_fails_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_checkpoint: Any, file: Any) -> None:
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        make_state().save(saved, SETTINGS)
    monkeypatch.undo()
    restored = make_state()
    restored.restore(saved, SETTINGS)
    assert restored.step == 5


def test_other_settings_are_named(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another run: steps is 10 there, 20 now; resume with"):
        make_state().restore(saved, {**SETTINGS, "steps": 20})
    with pytest.raises(CheckpointError, match=r"init is None there, 'abc' now"):
        make_state().restore(saved, {**SETTINGS, "init": "abc"})


def test_a_damaged_tensor_is_found(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        tensor = next(entry for entry in archive.infolist() if entry.filename.endswith("/data/0"))
    data = bytearray(saved.read_bytes())
    start = (
        tensor.header_offset
        + 30
        + int.from_bytes(data[tensor.header_offset + 26 : tensor.header_offset + 28], "little")
    )
    start += int.from_bytes(data[tensor.header_offset + 28 : tensor.header_offset + 30], "little")
    data[start] ^= 1
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        make_state().restore(saved, SETTINGS)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint", pickle.dumps({"step": 1})])
def test_another_file_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        make_state().restore(path, SETTINGS)


def test_a_cut_checkpoint_is_no_checkpoint(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        make_state().restore(saved, SETTINGS)


def test_weights_alone_are_no_checkpoint(tmp_path: Path) -> None:
    torch.save(make_state().model.state_dict(), tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="that keyfpn-train wrote"):
        make_state().restore(tmp_path / "checkpoint.pt", SETTINGS)


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"model": Trap()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        make_state().restore(tmp_path / "checkpoint.pt", SETTINGS)
    assert not (tmp_path / "sprung").exists()


def test_a_network_of_another_shape_does_not_fit(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="does not fit"):
        make_state(width=4).restore(saved, SETTINGS)


def test_none_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none"):
        make_state().restore(tmp_path / "checkpoint.pt", SETTINGS)
