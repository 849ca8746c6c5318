"""Fitted parameters in a model folder: theirs is the model that was published with them, and no other."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor

from keyfpn.detector.errors import ModelError
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.detector.pyramid import Pyramid
from keyfpn.protocol.geometry import Geometry
from keyfpn.reconstruct.interpolate.rebuilder import scale
from keyfpn.reconstruct.key_levels.fit import ParameterFitter
from keyfpn.reconstruct.key_levels.parameters import Mix, Parameters
from keyfpn.reconstruct.registry import open_codec, open_encoder
from tests.reconstruct.models import published
from tests.reconstruct.packets import send, unpack

LEVELS = ("p2", "p3", "p4", "p5", "p6")
SETTINGS = "interpolate:levels=p3+p5,precision=fp32"


def test_parameters_survive_their_files(fitted_model: Model, pyramid: Pyramid, features: dict[str, Tensor]) -> None:
    fitter = ParameterFitter(pyramid)
    fitter.add(features)
    fitted, read = fitter.fit(), Parameters.of(fitted_model)
    assert read.ranges == fitted.ranges
    assert read.mixes == fitted.mixes
    assert set(read.ranges) == set(itertools.product(LEVELS, range(2, 9)))


def test_a_model_without_parameters_has_none(bare_model: Model, unfitted_model: Model, tmp_path: Path) -> None:
    for model in (bare_model, unfitted_model):
        assert Parameters.of(model) == Parameters()
    assert Parameters.of(published(tmp_path / "empty", Parameters())) == Parameters()


@pytest.mark.parametrize("missing", ["mixes.json", "ranges.safetensors"])
def test_a_copy_without_a_published_file_is_not_taken_for_a_model_without_parameters(
    tmp_path: Path, missing: str
) -> None:
    """It would compute with other numbers under the same fingerprint."""
    published(tmp_path / "mine", mixed((0.25, 0.5)))
    (tmp_path / "mine" / missing).unlink()
    copy = open_model(tmp_path / "mine")
    codec = open_codec("interpolate", copy)
    assert not codec.can_decode()
    for use in (codec.decoder, codec.rebuilder, lambda: open_encoder(SETTINGS, copy)):
        with pytest.raises(ModelError, match=rf"{missing}: expected a file of the model, .* Copy the whole model"):
            use()


def mixed(mix: Mix) -> Parameters:
    return Parameters(mixes={("p4", "p3", "p5"): mix})


def test_a_model_published_again_into_its_folder_has_the_new_mixes_and_the_old_one_none(
    tmp_path: Path, features: dict[str, Tensor], geometry: Geometry
) -> None:
    def p4(model: Model) -> Tensor:
        packet = send(SETTINGS, model, features, geometry.network_size)
        return open_codec("interpolate", model).rebuilder().rebuild([unpack(packet, model)])["p4"]

    size = geometry.level_shape("p4")[1:]
    up, down = scale(features["p5"], size), scale(features["p3"], size)
    old = published(tmp_path / "mine", mixed((0.25, 0.5)))
    read_before, read_later = open_codec("interpolate", old), open_codec("interpolate", old)
    torch.testing.assert_close(p4(old), 0.25 * up + 0.5 * down)
    assert read_before.parameters == mixed((0.25, 0.5))

    new = published(tmp_path / "mine", mixed((1.5, -0.5)))
    assert new.folder == old.folder
    assert new.fingerprint != old.fingerprint
    torch.testing.assert_close(p4(new), 1.5 * up - 0.5 * down)
    assert open_codec("interpolate", new).provenance(("p3", "p5"))["p4"] == "1.5 * up(p5) + -0.5 * down(p3)"
    for name in ("interpolate", "raw"):
        with pytest.raises(ModelError, match=r"mine/(mixes\.json|ranges\.safetensors): expected SHA-256 .*, found "):
            open_encoder(name, old)
    for make in (read_later.decoder, read_later.rebuilder, lambda: read_later.provenance(("p3", "p5"))):
        with pytest.raises(ModelError, match=r"mine/mixes\.json: expected SHA-256 "):
            make()
    assert read_before.rebuilder() is not None  # what it has read is of its own fingerprint
    assert read_before.parameters == mixed((0.25, 0.5))


@pytest.mark.parametrize(
    "text",
    ["", "3", "[]x", '{"p4": [1, 2]}', '{"p4 from p3 and p5": [1]}', '{"p4 from p3 and p5": ["a", 2]}', "\udcff"],
)
def test_malformed_mixes_are_refused(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "mine"
    published(folder, Parameters())
    (folder / "mixes.json").write_text(text, errors="surrogateescape")
    Manifest.of_folder(folder).write(folder)
    with pytest.raises(
        ModelError, match=r"mine, ranges.* and mixes\.json: expected what keyfpn-train fit writes, found"
    ):
        Parameters.of(open_model(folder))


@pytest.mark.parametrize(
    "arrays",
    [
        None,
        {"p3.int4.low": np.zeros(8, np.float32)},
        {"p3": np.zeros(8, np.float32)},
        {"p3.intx.low": np.zeros(8, np.float32), "p3.intx.step": np.ones(8, np.float32)},
        {"p3.int9.low": np.zeros(8, np.float32), "p3.int9.step": np.ones(8, np.float32)},
        {"p3.int4.low": np.zeros(8, np.float32), "p3.int4.step": np.ones(7, np.float32)},
        {"p3.int4.low": np.full(8, np.nan, np.float32), "p3.int4.step": np.ones(8, np.float32)},
    ],
)
def test_malformed_ranges_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray] | None) -> None:
    folder = tmp_path / "mine"
    published(folder, Parameters())
    if arrays is None:
        (folder / "ranges.safetensors").write_bytes(b"no such thing")
    else:
        save_file(arrays, folder / "ranges.safetensors")
    Manifest.of_folder(folder).write(folder)
    with pytest.raises(
        ModelError, match=r"mine, ranges.* and mixes\.json: expected what keyfpn-train fit writes, found"
    ):
        Parameters.of(open_model(folder))


def test_mixes_are_readable(fitted_model: Model) -> None:
    mixes = json.loads(fitted_model.read("mixes.json"))
    assert set(mixes) == {
        "p3 from p2 and p4",
        "p4 from p3 and p5",
        "p4 from p2 and p6",
        "p5 from p4 and p6",
    }
