"""The learned codec's files: what is read of them, and what becomes of malformed ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.reconstruct.learned.files import (
    ANALYSIS_FILE,
    ENTROPY_FILE,
    SHAPE_FILE,
    SYNTHESIS_FILE,
    read_coder,
    read_gains,
    read_shape,
)
from keyfpn.reconstruct.learned.shape import Shape
from keyfpn.reconstruct.registry import open_codec, open_encoder

SHAPE = Shape(128, 24, analysis=(8, 8, 8), synthesis=(8, 8, 8, 8), groups=((2, 3), (2, 4), (1, 2)), qualities=3)


def changed(model: Model, folder: Path, name: str, data: bytes) -> Model:
    """A copy of a model that was published with another content of a file."""
    assert model.folder is not None
    folder = folder / "changed"
    shutil.copytree(model.folder, folder, ignore=shutil.ignore_patterns("detector.safetensors"))
    (folder / name).write_bytes(data)
    Manifest.of_folder(folder).write(folder)
    return open_model(folder)


def test_the_files_of_the_codec_say_what_it_is(learned_model: Model) -> None:
    assert read_shape(learned_model) == SHAPE
    assert (SHAPE.latents, SHAPE.key_channels["res2"], SHAPE.key_channels["lateral5"]) == ((5, 6, 3), 24, 128)
    coder = read_coder(learned_model, SHAPE)
    assert coder.qualities == 3
    assert coder.shapes(learned_model.geometry((90, 120))) == ((5, 3, 4), (6, 6, 8), (3, 12, 16))
    assert [gain.shape for gain in read_gains(learned_model, SHAPE)] == [(3, 5), (3, 6), (3, 3)]


def test_gains_are_exponentials_in_double_precision(learned_model: Model) -> None:
    logarithms = load(learned_model.read(ANALYSIS_FILE))["gain.0"]
    expected = np.exp(logarithms.astype(np.float64)).astype(np.float32)
    assert np.array_equal(read_gains(learned_model, SHAPE)[0], expected)
    assert (expected > 0).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b"{}",
        b"\xff",
        b'{"pyramid_channels": 128}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "colour": 3}',
        b'{"pyramid_channels": "128", "res2_channels": 24}',
        b'{"pyramid_channels": 128, "res2_channels": 0}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "analysis": 3}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "analysis": [8, 8]}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "groups": [[1], [2]]}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "groups": [1, 2, 3]}',
        b'{"pyramid_channels": 128, "res2_channels": 24, "qualities": 2.5}',
    ],
)
def test_malformed_shapes_are_refused(learned_model: Model, tmp_path: Path, data: bytes) -> None:
    codec = open_codec("learned", changed(learned_model, tmp_path, SHAPE_FILE, data))
    for make in (codec.decoder, codec.rebuilder, codec.sweep, lambda: open_encoder("learned", codec.model)):
        with pytest.raises(
            ModelError, match=r"changed, learned/codec\.json: expected the sizes of a learned codec, fo"
        ):
            make()


def without(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        del arrays[name]

    return change


def with_array(name: str, array: np.ndarray) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = array

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("y0.tables"),
        without("y1.coarse"),
        without("y2.kernel1"),
        with_array("y0.tables", np.zeros((4, 3), np.uint32)),
        with_array("y0.tables", np.zeros((4, 3), np.float32)),
        with_array("y1.bias", np.zeros((3, 2, 5), np.int32)),
        with_array("y0.coarse", np.zeros((5, 5), np.int8)),
        with_array("y0.prediction", np.zeros((3, 5), np.int8)),
    ],
)
def test_malformed_entropy_models_are_refused(
    learned_model: Model, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    arrays = load(learned_model.read(ENTROPY_FILE))
    change(arrays)
    model = changed(learned_model, tmp_path, ENTROPY_FILE, save(arrays))
    for make in (open_codec("learned", model).decoder, lambda: open_encoder("learned", model)):
        with pytest.raises(
            ModelError, match=r"changed, learned/entropy\.safetensors: expected the entropy model of a l"
        ):
            make()


def test_an_entropy_model_of_other_qualities_is_refused(learned_model: Model, tmp_path: Path) -> None:
    arrays = load(learned_model.read(ENTROPY_FILE))
    for name in [name for name in arrays if name.endswith((".bias", ".prediction"))]:
        arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    model = changed(learned_model, tmp_path, ENTROPY_FILE, save(arrays))
    with pytest.raises(ModelError, match=r"changed, learned/entropy\.safetensors: expected 3 qualities, found 4"):
        open_codec("learned", model).decoder()


@pytest.mark.parametrize("name", [ENTROPY_FILE, ANALYSIS_FILE, SYNTHESIS_FILE])
def test_files_that_are_no_safetensors_are_refused(learned_model: Model, tmp_path: Path, name: str) -> None:
    model = changed(learned_model, tmp_path, name, b"no such thing")
    make = open_codec("learned", model).rebuilder if name == SYNTHESIS_FILE else lambda: open_encoder("learned", model)
    with pytest.raises(ModelError, match=f"changed, {name}: expected "):
        make()


@pytest.mark.parametrize("change", [without("gain.1"), with_array("gain.1", np.zeros((2, 6), np.float16))])
def test_gains_of_another_shape_are_refused(
    learned_model: Model, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    arrays = load(learned_model.read(ANALYSIS_FILE))
    change(arrays)
    model = changed(learned_model, tmp_path, ANALYSIS_FILE, save(arrays))
    with pytest.raises(ModelError, match=r"changed, learned/analysis\.safetensors: expected (the )?gains of "):
        open_encoder("learned", model)


@pytest.mark.parametrize("name", [ANALYSIS_FILE, SYNTHESIS_FILE])
def test_weights_of_another_network_are_refused(learned_model: Model, tmp_path: Path, name: str) -> None:
    arrays = load(learned_model.read(name))
    dropped = next(key for key in arrays if key.endswith(".weight"))
    del arrays[dropped]
    model = changed(learned_model, tmp_path, name, save(arrays))
    codec, encoder = open_codec("learned", model), open_encoder("learned", model)
    make = codec.rebuilder if name == SYNTHESIS_FILE else lambda: codec.analysis(encoder)
    with pytest.raises(ModelError, match=f"changed, {name}: expected weights of the learned codec, found ") as caught:
        make()
    assert dropped in str(caught.value)


def test_the_sizes_are_readable(learned_model: Model) -> None:
    document = json.loads(learned_model.read(SHAPE_FILE))
    assert document["groups"] == [[2, 3], [2, 4], [1, 2]]
    assert document["qualities"] == 3
