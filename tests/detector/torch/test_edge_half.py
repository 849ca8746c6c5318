import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from detectron2.modeling import GeneralizedRCNN

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.detector.torch.edge_half import EdgeHalf

LEVELS = ("p2", "p3", "p4", "p5", "p6")


@pytest.mark.parametrize("size", range(1, 6))
def test_every_key_level_set_gives_the_levels_of_the_whole_pyramid(
    network: GeneralizedRCNN, noise_input: np.ndarray, size: int
) -> None:
    whole = EdgeHalf(network, LEVELS)(noise_input)
    for levels in itertools.combinations(LEVELS, size):
        some = EdgeHalf(network, levels)(noise_input)
        assert tuple(some) == levels
        for level in levels:
            assert torch.equal(some[level], whole[level])


@pytest.mark.parametrize(
    ("key_levels", "laterals", "outputs"),
    [
        (("p3", "p5"), {3, 4, 5}, {3, 5}),
        (("p4",), {4, 5}, {4}),
        (("p6",), {5}, {5}),
        (("p2", "p6"), {2, 3, 4, 5}, {2, 5}),
        (("inner3", "res2"), {3, 4, 5}, set()),
        (("lateral4",), {4, 5}, set()),
        (("res4",), set(), set()),
    ],
)
def test_computes_only_what_the_key_levels_need(
    network: GeneralizedRCNN,
    noise_input: np.ndarray,
    key_levels: tuple[str, ...],
    laterals: set[int],
    outputs: set[int],
) -> None:
    calls: Counter[str] = Counter()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, module in network.backbone.named_children()
        if name.startswith("fpn_")
    ]
    try:
        EdgeHalf(network, key_levels)(noise_input)
    finally:
        for hook in hooks:
            hook.remove()
    assert calls == {f"fpn_lateral{k}": 1 for k in laterals} | {f"fpn_output{k}": 1 for k in outputs}


def test_inner_maps_and_stages_are_what_the_fpn_reads_and_sums(
    network: GeneralizedRCNN, noise_input: np.ndarray
) -> None:
    below = [f"{name}{k}" for name in ("inner", "lateral", "res") for k in range(2, 6)]
    features = EdgeHalf(network, [*LEVELS, *below])(noise_input)
    fpn = network.backbone
    with torch.no_grad():
        for k in range(2, 6):
            inner = getattr(fpn, f"fpn_lateral{k}")(features[f"res{k}"])
            torch.testing.assert_close(features[f"lateral{k}"], inner)
            if k < 5:
                inner = inner + torch.nn.functional.interpolate(features[f"inner{k + 1}"], scale_factor=2.0)
            torch.testing.assert_close(features[f"inner{k}"], inner)
            torch.testing.assert_close(features[f"p{k}"], getattr(fpn, f"fpn_output{k}")(inner))


def test_a_lateral_of_an_averaging_fpn_is_what_it_adds(network: GeneralizedRCNN, noise_input: np.ndarray) -> None:
    half = EdgeHalf(network, ["lateral3", "inner3", "inner4"])
    half._average = True
    features = half(noise_input)
    above = torch.nn.functional.interpolate(features["inner4"], scale_factor=2.0)
    torch.testing.assert_close(features["lateral3"] + above, features["inner3"])


def test_bf16_stays_near_fp32(network: GeneralizedRCNN, noise_input: np.ndarray) -> None:
    exact = EdgeHalf(network, ["p3"])(noise_input)["p3"]
    rough = EdgeHalf(network, ["p3"], precision="bf16")(noise_input)["p3"]
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    assert (exact - rough).square().mean() < 0.01 * exact.var()


@pytest.mark.parametrize("levels", [["p7"], [], ["p3", "res1"], ["inner6"]])
def test_unknown_levels_are_refused(network: GeneralizedRCNN, levels: list[str]) -> None:
    with pytest.raises(ModelError, match="key levels: expected some of p2, p3, p4, p5, p6, "):
        EdgeHalf(network, levels)


def test_shapes_are_those_of_the_geometry(
    detector_model: Model, network: GeneralizedRCNN, noise_input: np.ndarray
) -> None:
    geometry = detector_model.geometry((noise_input.shape[1], noise_input.shape[2]))
    for level, feature in EdgeHalf(network, LEVELS)(noise_input).items():
        assert feature.shape == (1, *geometry.level_shape(level))
