from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from keyfpn.benchmarks.engine.cache import cache_folder
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import Model


def test_cache_belongs_to_detector_data_and_precision_but_not_to_codecs(tmp_path: Path, detector_model: Model) -> None:
    annotations, others = tmp_path / "a.json", tmp_path / "b.json"
    annotations.write_text(json.dumps({"images": []}))
    others.write_text(json.dumps({"images": [1]}))

    def folder(model: Model = detector_model, precision: str = "bf16", path: Path = annotations) -> Path:
        return cache_folder(tmp_path, model, precision, path)

    def with_file(name: str) -> Model:
        manifest = Manifest("m", {**detector_model.manifest.hashes, name: "0" * 64})
        return dataclasses.replace(detector_model, manifest=manifest)

    assert folder(with_file("codec/synthesis.safetensors")) == folder()
    assert (
        len({folder(), folder(with_file("detector.safetensors")), folder(precision="fp32"), folder(path=others)}) == 4
    )
