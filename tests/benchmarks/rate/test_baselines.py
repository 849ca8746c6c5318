from __future__ import annotations

import io
from itertools import groupby

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.rate.baselines import SIZES, Baseline, default_baselines, receive, resize
from keyfpn.detector.prepare import Preprocessor


@pytest.mark.parametrize("family", ["jpeg", "webp", "avif"])
def test_more_quality_costs_more_bytes_and_loses_less(family: str, photo: np.ndarray) -> None:
    picture = photo[100:260, 150:350]
    sizes, errors = [], []
    for quality in (20, 50, 90):
        data = Baseline(family, quality, "4:2:0", "network").encode(picture)
        received = receive(data, picture.shape[:2])
        assert (received.shape, received.dtype) == (picture.shape, np.uint8)
        sizes.append(len(data))
        errors.append(float(np.abs(received.astype(int) - picture).mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 6


def test_jpeg_is_progressive_optimized_and_subsampled_as_asked(photo: np.ndarray) -> None:
    for subsampling, code in (("4:4:4", 0), ("4:2:0", 2)):
        data = Baseline("jpeg", 60, subsampling, "network").encode(photo)
        image = Image.open(io.BytesIO(data))
        assert image.info["progressive"]
        assert get_sampling(image) == code
        plain = io.BytesIO()
        Image.fromarray(photo).save(plain, "jpeg", quality=60, subsampling=subsampling)
        assert len(data) < len(plain.getvalue())


@pytest.mark.parametrize("family", ["jpeg", "webp", "avif"])
def test_nothing_but_pixels_is_sent(family: str, photo: np.ndarray) -> None:
    image = Image.open(io.BytesIO(Baseline(family, 50, "4:2:0", "network").encode(photo[:160, :200])))
    assert not image.getexif()
    assert "icc_profile" not in image.info


def test_sender_shrinks_once_as_the_test_transform_does_and_server_scales_up(
    photo: np.ndarray, preprocessor: Preprocessor
) -> None:
    picture = photo[:401, :300]
    network_size = preprocessor.network_size(picture.shape[:2])
    assert network_size == (513, 384)
    whole = Baseline("jpeg", 95, "4:4:4", "network").shrink(picture, network_size)
    np.testing.assert_array_equal(whole, preprocessor.resize(picture))
    for name, size in (("0.75", (385, 288)), ("0.5", (256, 192))):
        baseline = Baseline("jpeg", 95, "4:4:4", name)
        sent = baseline.shrink(picture, network_size)
        assert sent.shape == (*size, 3)
        expected = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(sent, expected)
        received = receive(baseline.encode(sent), network_size)
        assert received.shape == whole.shape
        assert np.abs(received.astype(int) - whole).mean() < 8


def test_a_picture_of_network_size_is_not_touched(photo: np.ndarray) -> None:
    assert resize(photo, photo.shape[:2]) is photo


def test_every_line_of_the_default_baselines_has_at_least_eight_qualities() -> None:
    baselines = default_baselines()
    assert len({baseline.key for baseline in baselines}) == len(baselines)
    lines = {
        line: {baseline.quality for baseline in group}
        for line, group in groupby(baselines, key=lambda one: (one.family, one.subsampling, one.size))
    }
    assert all(len(qualities) >= 8 for qualities in lines.values())
    families = {("jpeg", "4:2:0"), ("jpeg", "4:4:4"), ("webp", "4:2:0"), ("avif", "4:2:0")}
    assert set(lines) == {(*family, size) for family in families for size in SIZES}


def test_sizes_can_be_chosen_and_unknown_ones_are_refused() -> None:
    assert {baseline.size for baseline in default_baselines(["network", "0.5"])} == {"network", "0.5"}
    with pytest.raises(BenchmarkError, match=r"sizes of sent pictures: expected some of network, 0\.75, 0\.5, found 2"):
        default_baselines(["2"])
