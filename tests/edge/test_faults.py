"""Whose fault it is: a frame's own costs that frame, everything else ends the command; in files and in streams."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.reconstruct.codec import Arrays, Encoder

if TYPE_CHECKING:
    from tests.commands import Outcome

Edge = Callable[..., "Outcome"]
Spoil = Callable[[Callable[[Arrays], Arrays]], None]
OPTIONS = ("--codec", "raw:levels=p5,precision=fp32")


@pytest.fixture
def spoil_second(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Puts a network of zeros in torch's place, which spoils the second of its pictures as it is told."""

    def put(spoil: Callable[[Arrays], Arrays]) -> None:
        class Network:
            def __init__(self, model: Model, encoder: Encoder, **options: object) -> None:
                self.model, self.inputs, self.count = model, encoder.inputs, 0

            def __call__(self, picture: np.ndarray) -> Arrays:
                geometry = self.model.geometry((picture.shape[1], picture.shape[2]))
                arrays = {level: np.zeros(geometry.level_shape(level), np.float32) for level in self.inputs}
                self.count += 1
                return spoil(arrays) if self.count == 2 else arrays

        monkeypatch.setattr("keyfpn.edge.networks.torch.TorchNetwork", Network)

    return put


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder of three small pictures: a, b and c."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "abc":
        Image.new("RGB", (96, 64)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(params=["encode", "send"])
def run(request: pytest.FixtureRequest, edge: Edge, fake_server, three: Path, tmp_path: Path) -> Callable[[], Outcome]:
    """Encodes or sends the three pictures."""
    if request.param == "encode":
        return lambda: edge("encode", three, "--out", tmp_path / "packets", *OPTIONS, "--json")
    return lambda: edge("send", three, "--server", fake_server().address, *OPTIONS, "--json")


def names(outcome: Outcome) -> list[str]:
    return [record["name"] for record in map(json.loads, outcome.out.splitlines()) if record["event"] == "frame"]


def test_a_picture_too_thin_for_the_network(run: Callable[[], Outcome], spoil_second: Spoil, three: Path) -> None:
    spoil_second(lambda arrays: arrays)
    Image.new("RGB", (5000, 1)).save(three / "b.png")
    outcome = run()
    assert outcome.code == 1
    found = "found 1 x 5000 pixels (height x width), which gives 0 x 640"
    expected = f"expected one that can be resized to the network's input, {found}"
    assert outcome.err == f"error: b: size of a picture: {expected}\n"
    assert names(outcome) == ["a", "c"]
    assert outcome.records[-1]["failed"] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(run: Callable[[], Outcome], spoil_second: Spoil, value: float) -> None:
    spoil_second(lambda arrays: {level: array + np.float32(value) for level, array in arrays.items()})
    outcome = run()
    expected = "expected values that are finite as float32, found some that are not"
    assert (outcome.code, outcome.err) == (1, f"error: b: features to send: {expected}\n")
    assert names(outcome) == ["a", "c"]


def test_an_error_of_the_model_ends_it(run: Callable[[], Outcome], spoil_second: Spoil) -> None:
    def fail(arrays: Arrays) -> Arrays:
        raise ModelError("network", "one that computes", "one that does not")

    spoil_second(fail)
    outcome = run()
    assert (outcome.code, outcome.err) == (2, "error: network: expected one that computes, found one that does not\n")
    assert names(outcome) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a mistake"), KeyError("p5"), MemoryError("full")])
def test_a_mistake_of_the_program_is_not_hidden(
    run: Callable[[], Outcome], spoil_second: Spoil, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(arrays: Arrays) -> Arrays:
        raise error

    spoil_second(fail)
    with pytest.raises(type(error)) as raised:  # Python prints its traceback
        run()
    assert raised.value is error
    assert capsys.readouterr().err == ""
