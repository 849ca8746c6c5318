from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model, open_model
from keyfpn.protocol.errors import ConfigurationError, FingerprintMismatch, InvalidField
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.packet import CODEC_IDS
from keyfpn.reconstruct.registry import (
    codec_of,
    decodable_codecs,
    default_codec,
    identity,
    open_codec,
    open_encoder,
    registered_codecs,
)
from keyfpn.reconstruct.settings import CodecSettings
from tests.reconstruct.packets import send


def names(model: Model) -> list[str]:
    return [codec.name for codec in decodable_codecs(model)]


def test_keyfpns_own_codecs_have_the_names_and_ids_of_the_wire() -> None:
    own = {name: codec for name, codec in registered_codecs().items() if codec.wire_id < 128}
    assert {name: codec.wire_id for name, codec in own.items()} == CODEC_IDS
    assert all(codec.name == name for name, codec in own.items())
    assert list(registered_codecs()) == sorted(registered_codecs())


def test_a_codec_that_does_not_exist(bare_model: Model) -> None:
    message = r"codec: expected one of interpolate, learned, network, raw, found 'nothing'"
    with pytest.raises(ConfigurationError, match=message):
        open_codec("nothing", bare_model)
    with pytest.raises(ConfigurationError, match=message):
        open_encoder("nothing:a=1", bare_model)


def test_settings_may_be_text_or_parsed(bare_model: Model) -> None:
    text = "raw:levels=p3,precision=fp16"
    assert open_encoder(text, bare_model).settings == open_encoder(CodecSettings.parse(text), bare_model).settings
    assert open_encoder(text, bare_model).codec.model is bare_model


def test_what_a_copy_of_a_model_can_decode(
    bare_model: Model, unfitted_model: Model, learned_model: Model, detector_model: Model
) -> None:
    assert names(bare_model) == names(unfitted_model) == ["interpolate", "raw"]
    assert names(learned_model) == names(detector_model) == ["interpolate", "learned", "network", "raw"]


def test_the_default_is_the_learned_codec_where_there_is_one(unfitted_model: Model, learned_model: Model) -> None:
    assert default_codec(unfitted_model) == "interpolate"
    assert default_codec(learned_model) == "learned"


@pytest.mark.parametrize("name", ["interpolate", "raw"])
def test_the_codec_of_a_packet(name: str, fitted_model: Model, features: dict[str, Tensor], geometry: Geometry) -> None:
    packet = send(name, fitted_model, features, geometry.network_size)
    codec = codec_of(packet, fitted_model)
    assert (codec.name, codec.wire_name, codec.model) == (name, name, fitted_model)


def test_packet_of_another_model_is_refused(
    fitted_model: Model, bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = send("raw", fitted_model, features, geometry.network_size)
    with pytest.raises(FingerprintMismatch) as caught:
        codec_of(packet, bare_model)
    assert fitted_model.fingerprint.hex() in str(caught.value)
    assert bare_model.fingerprint.hex() in str(caught.value)


@pytest.mark.parametrize("codec", ["learned", "network", "private-129"])
def test_packet_of_a_codec_that_the_model_does_not_have_is_refused(
    codec: str, bare_model: Model, features: dict[str, Tensor], geometry: Geometry
) -> None:
    packet = replace(send("raw", bare_model, features, geometry.network_size), codec=codec)
    message = rf"codec: expected one that bare has the files of \(interpolate, raw\), found {codec}"
    with pytest.raises(InvalidField, match=message):
        codec_of(packet, bare_model)


def test_every_codecs_sweep_is_of_settings_that_it_takes(learned_model: Model) -> None:
    for codec in decodable_codecs(learned_model):
        sweep = codec.sweep()
        assert len(sweep) > 1
        texts = [str(codec.encoder(settings).settings) for settings in sweep]
        assert len(set(texts)) == len(texts)
        assert all(settings.name == codec.name for settings in sweep)


@pytest.fixture
def retrained(learned_model: Model, tmp_path: Path) -> Model:
    """A model that differs in its learned codec alone."""
    assert learned_model.folder is not None
    folder = tmp_path / learned_model.folder.name
    shutil.copytree(learned_model.folder, folder)
    (folder / "learned" / "extra.json").write_text("{}")
    Manifest.of_folder(folder).write(folder)
    return open_model(folder)


def test_a_codecs_identity_is_of_its_own_files_and_the_detectors(learned_model: Model, retrained: Model) -> None:
    def identities(model: Model) -> dict[str, str]:
        return {codec.name: identity(codec) for codec in decodable_codecs(model)}

    before, after = identities(learned_model), identities(retrained)
    assert retrained.fingerprint != learned_model.fingerprint
    assert {name for name in before if before[name] != after[name]} == {"learned"}
    assert before["raw"] == before["interpolate"]  # both depend on the fitted ranges and mixes
    assert len({*before.values()}) == 3


def test_a_codecs_identity_changes_with_the_detector(learned_model: Model) -> None:
    hashes = {**learned_model.manifest.hashes, "detector.safetensors": "0" * 64}
    other = replace(learned_model, manifest=Manifest(learned_model.manifest.name, hashes))
    for codec in decodable_codecs(learned_model):
        assert identity(codec) != identity(type(codec)(other))
