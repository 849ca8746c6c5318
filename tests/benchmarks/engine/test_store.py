from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.store import Measurement, Store, cache_folder
from keyfpn.detector.coco import Picture
from keyfpn.detector.detections import Detections
from keyfpn.detector.manifest import Manifest
from keyfpn.detector.model import DetectorModel


def measurement(row: str, picture: int, boxes: int) -> Measurement:
    random = np.random.default_rng(picture)
    detections = Detections(
        random.random((boxes, 4), np.float32) * 500,
        np.sort(random.random(boxes, np.float32))[::-1],
        random.integers(0, 1203, boxes),
    )
    return Measurement(row, picture, 1000 + picture, detections)


def pictures(*ids: int) -> list[Picture]:
    return [Picture(id, Path(f"{id}.jpg")) for id in ids]


def assert_equal(found: Measurement, expected: Measurement) -> None:
    assert (found.row, found.picture, found.bytes) == (expected.row, expected.picture, expected.bytes)
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(getattr(found.detections, name), getattr(expected.detections, name))


def test_measurements_come_back_in_the_order_of_the_pictures_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.sqlite"
    kept = {id: measurement("a", id, boxes) for id, boxes in ((3, 5), (1, 0), (2, 100))}
    with Store(path) as store:
        store.add(kept.values())
        store.add([measurement("b", 1, 1)])
    with Store(path) as store:
        for found, id in zip(store.read("a", pictures(2, 3, 1)), (2, 3, 1), strict=True):
            assert_equal(found, kept[id])
        assert store.done() == {("a", 1), ("a", 2), ("a", 3), ("b", 1)}
        assert store.sizes("a") == {1: 1001, 2: 1002, 3: 1003}


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    batch = [measurement("a", 1, 1), dataclasses.replace(measurement("a", 2, 1), bytes=None)]
    with Store(tmp_path / "store") as store, pytest.raises(sqlite3.IntegrityError):
        store.add(batch)
    with Store(tmp_path / "store") as store:
        assert store.done() == set()


def test_missing_measurements_are_named(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.add([measurement("a", 1, 1)])
        with pytest.raises(BenchmarkError, match=r"a: 2 of 3 pictures are not measured, such as 2\.jpg"):
            store.read("a", pictures(1, 2, 3))


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(BenchmarkError, match="not a store of measurements"):
        Store(path)


def test_cache_belongs_to_detector_data_and_precision_but_not_to_codecs(
    tmp_path: Path, detector_model: DetectorModel
) -> None:
    annotations, others = tmp_path / "a.json", tmp_path / "b.json"
    annotations.write_text(json.dumps({"images": []}))
    others.write_text(json.dumps({"images": [1]}))

    def folder(model: DetectorModel = detector_model, precision: str = "bf16", path: Path = annotations) -> Path:
        return cache_folder(tmp_path, model, precision, path)

    def with_file(name: str) -> DetectorModel:
        manifest = Manifest("m", {**detector_model.manifest.hashes, name: "0" * 64})
        return dataclasses.replace(detector_model, manifest=manifest)

    assert folder(with_file("codec/synthesis.safetensors")) == folder()
    assert (
        len({folder(), folder(with_file("detector.safetensors")), folder(precision="fp32"), folder(path=others)}) == 4
    )
