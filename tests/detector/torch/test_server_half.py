from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import Instances
from torch import Tensor

from keyfpn.detector.prepare import Preprocessor, resize
from keyfpn.detector.torch.edge_half import EdgeHalf
from keyfpn.detector.torch.server_half import ServerHalf

LEVELS = ("p2", "p3", "p4", "p5", "p6")
SIZES = ((250, 310), (230, 320), (256, 290))
"""(height, width) of network inputs that are all padded to 256 x 320."""
IMAGE_SIZES = ((500, 620), (115, 160), (256, 290))


@pytest.fixture(scope="module")
def inputs(photo: np.ndarray) -> list[Tensor]:
    """Three parts of a photograph, (3, H, W) uint8, each of its size of SIZES."""
    parts = (photo[:400], photo[60:], photo[:, 100:])
    return [
        torch.from_numpy(np.ascontiguousarray(resize(np.ascontiguousarray(part), size).transpose(2, 0, 1)))
        for part, size in zip(parts, SIZES, strict=True)
    ]


def unsplit(network: GeneralizedRCNN, inputs: Sequence[Tensor], places: Sequence[int]) -> list[Instances]:
    """What the whole detector finds in a batch."""
    batch = [
        {"image": inputs[place], "height": IMAGE_SIZES[place][0], "width": IMAGE_SIZES[place][1]} for place in places
    ]
    with torch.inference_mode():
        return [found["instances"] for found in network.inference(batch)]


def pyramid(network: GeneralizedRCNN, inputs: Sequence[Tensor], places: Sequence[int]) -> dict[str, Tensor]:
    """What the detector's own backbone gives for a batch."""
    with torch.inference_mode():
        images = network.preprocess_image([{"image": inputs[place]} for place in places])
        return dict(network.backbone(images.tensor))


def split(half: ServerHalf, features: dict[str, Tensor], places: Sequence[int]) -> list[Instances]:
    return half(features, [SIZES[place] for place in places], [IMAGE_SIZES[place] for place in places])


def assert_same(found: Sequence[Instances], expected: Sequence[Instances]) -> None:
    """Boxes, scores and classes, bit for bit."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) > 0
        assert ours.image_size == theirs.image_size
        assert torch.equal(ours.pred_boxes.tensor, theirs.pred_boxes.tensor)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.pred_classes, theirs.pred_classes)


def test_two_halves_give_the_unsplit_models_boxes(
    network: GeneralizedRCNN, preprocessor: Preprocessor, val_pictures: list[np.ndarray]
) -> None:
    edge, server = EdgeHalf(network, LEVELS), ServerHalf(network)
    for picture in val_pictures:
        resized = preprocessor.resize(picture)
        network_input = preprocessor.to_input(resized)
        height, width = picture.shape[:2]
        with torch.inference_mode():
            whole = {"image": torch.from_numpy(network_input), "height": height, "width": width}
            expected = network([whole])[0]["instances"]
        (found,) = server(edge(network_input), [resized.shape[:2]], [(height, width)])
        assert len(expected) == len(found) > 0
        assert torch.equal(expected.pred_classes, found.pred_classes)
        assert (expected.scores - found.scores).abs().max() <= 1e-4
        assert (expected.pred_boxes.tensor - found.pred_boxes.tensor).abs().max() <= 0.01


@pytest.mark.parametrize("places", [(0,), (1,), (0, 1), (2, 1, 0)])
def test_with_the_same_pyramid_the_boxes_are_the_same_bits(
    network: GeneralizedRCNN, inputs: list[Tensor], places: tuple[int, ...]
) -> None:
    found = split(ServerHalf(network), pyramid(network, inputs, places), places)
    assert_same(found, unsplit(network, inputs, places))


def test_threads_do_not_mix_up_their_frames(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    half, rounds = ServerHalf(network), 6
    places = (0, 1)
    features = [pyramid(network, inputs, [place]) for place in places]
    expected = [unsplit(network, inputs, [place]) for place in places]
    together = Barrier(len(places))

    def detect(place: int) -> list[list[Instances]]:
        answers = []
        for _ in range(rounds):
            together.wait(timeout=60)
            answers.append(split(half, features[place], [place]))
        return answers

    with ThreadPoolExecutor(len(places)) as pool:
        for place, answers in zip(places, pool.map(detect, places), strict=True):
            for answer in answers:
                assert_same(answer, expected[place])


def test_the_network_stays_whole(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    before = unsplit(network, inputs, [0])
    backbone, modules = network.backbone, dict(network.named_children())
    half = ServerHalf(network)
    split(half, pyramid(network, inputs, [1]), [1])
    assert network.backbone is backbone
    assert dict(network.named_children()) == modules
    assert_same(unsplit(network, inputs, [0]), before)


def test_the_half_holds_the_heads_themselves_and_no_backbone(network: GeneralizedRCNN) -> None:
    half = ServerHalf(network)
    own = {id(parameter) for parameter in half.parameters()}
    assert own == {id(p) for name, p in network.named_parameters() if not name.startswith("backbone.")}
    stand_in = half.detector.backbone
    assert stand_in.output_shape() == network.backbone.output_shape()
    assert stand_in.size_divisibility == network.backbone.size_divisibility == 32


def test_a_frame_that_fails_leaves_nothing_behind(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    half, features = ServerHalf(network), pyramid(network, inputs, [0])
    with pytest.raises(KeyError):
        split(half, {level: features[level] for level in ("p2", "p3")}, [0])
    with pytest.raises(AttributeError):  # features are gone with the call that they were given to
        half.detector.backbone(torch.zeros(1, 3, 32, 32))
    assert_same(split(half, features, [0]), unsplit(network, inputs, [0]))


def test_boxes_are_in_pixels_of_the_original_picture(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    half, features = ServerHalf(network), pyramid(network, inputs, [0])
    (small,) = half(features, [SIZES[0]], [SIZES[0]])
    (large,) = half(features, [SIZES[0]], [(2 * SIZES[0][0], 2 * SIZES[0][1])])
    torch.testing.assert_close(large.pred_boxes.tensor, 2 * small.pred_boxes.tensor)
    assert torch.equal(small.scores, large.scores)
    assert small.pred_boxes.tensor.device.type == "cpu"


def test_sizes_for_each_frame_are_required(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="zip"):
        ServerHalf(network)(pyramid(network, inputs, [0, 1]), SIZES[:2], IMAGE_SIZES[:1])


def test_bf16_stays_near_fp32(network: GeneralizedRCNN, inputs: list[Tensor]) -> None:
    features = pyramid(network, inputs, [0])
    (exact,) = split(ServerHalf(network), features, [0])
    (rough,) = split(ServerHalf(network, precision="bf16"), features, [0])
    assert rough.scores[0] != exact.scores[0]
    assert abs(float(rough.scores[0] - exact.scores[0])) < 0.02
    assert rough.pred_classes[0] == exact.pred_classes[0]


def test_another_meta_architecture_of_the_kind_keeps_its_own_inference(
    network: GeneralizedRCNN, inputs: list[Tensor]
) -> None:
    class Counting(GeneralizedRCNN):
        calls = 0

        def inference(self, *arguments: object, **options: object) -> list[dict[str, Instances]]:
            type(self).calls += 1
            return super().inference(*arguments, **options)

    other = copy.copy(network)
    other.__class__ = Counting
    assert_same(split(ServerHalf(other), pyramid(network, inputs, [0]), [0]), unsplit(network, inputs, [0]))
    assert Counting.calls == 1
