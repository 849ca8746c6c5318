from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.store import Measurement, Store
from keyfpn.detector.coco import Picture
from keyfpn.protocol.detections import Detections


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
        with pytest.raises(BenchmarkError, match=r"a: expected .* of 3 pictures, found none of 2, such as 2\.jpg"):
            store.read("a", pictures(1, 2, 3))


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(b"this is no database " * 100)
    with pytest.raises(BenchmarkError, match=r"store: expected a store of measurements, found .*not a database"):
        Store(path)
