from __future__ import annotations

import pytest

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
