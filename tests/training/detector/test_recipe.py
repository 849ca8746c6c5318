from __future__ import annotations

import pytest

from keyfpn.training.codecs.recipe import CodecRecipe
from keyfpn.training.detector.recipe import Recipe


def test_the_learning_rate_warms_up_and_falls_to_two_percent() -> None:
    recipe = Recipe()
    rates = [recipe.learning_rate_at(step, step / recipe.steps) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[199] == 1.0
    assert rates[:200] == sorted(rates[:200])
    assert rates[200:] == sorted(rates[200:], reverse=True)
    assert rates[-1] == pytest.approx(0.02, abs=1e-4)
    assert rates[recipe.steps // 2] == pytest.approx(0.51, abs=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 25, 1999])
def test_a_short_run_warms_up_for_a_tenth_of_its_steps(steps: int) -> None:
    recipe = Recipe(steps=steps)
    rates = [recipe.learning_rate_at(step, step / steps) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[max(0, steps // 10 - 1)] == 1.0


def test_a_codecs_learning_rate_is_constant_before_it_falls_to_nothing() -> None:
    recipe = CodecRecipe()
    assert recipe.learning_rate_at(0, 0) == 1 / recipe.warmup_steps
    assert recipe.learning_rate_at(recipe.warmup_steps, 0.1) == recipe.learning_rate_at(5000, 0.75) == 1
    assert recipe.learning_rate_at(5000, 0.875) == 0.5
    assert recipe.learning_rate_at(5000, 1) == 0
