from __future__ import annotations

import dataclasses

import pytest

from keyfpn.detector.errors import ModelError
from keyfpn.detector.model import Model
from keyfpn.training.codecs.recipe import ReconstructionRecipe
from keyfpn.training.codecs.scene import Scene


def test_a_pyramid_that_the_networks_do_not_rebuild_is_refused_before_any_work(detector_model: Model) -> None:
    pyramid = dataclasses.replace(detector_model.pyramid, independent=("p3", "p4", "p5"))
    other = dataclasses.replace(detector_model, pyramid=pyramid)
    with pytest.raises(ModelError, match=r"expected the levels that networks rebuild, p2, .*, found p3, p4, p5"):
        Scene(other, [], ReconstructionRecipe(), "cpu")
