from __future__ import annotations

import pytest

from keyfpn.training.codecs.learned.recipe import CodecRecipe
from keyfpn.training.codecs.recipe import ReconstructionRecipe


@pytest.mark.parametrize("kind", [CodecRecipe, ReconstructionRecipe])
def test_the_learning_rate_is_constant_before_it_falls_to_nothing(kind: type[ReconstructionRecipe]) -> None:
    recipe = kind()
    assert recipe.learning_rate_at(0, 0) == 1 / recipe.warmup_steps
    assert recipe.learning_rate_at(recipe.warmup_steps, 0.1) == recipe.learning_rate_at(5000, 0.75) == 1
    assert recipe.learning_rate_at(5000, 0.875) == 0.5
    assert recipe.learning_rate_at(5000, 1) == 0
