from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from keyfpn.protocol.errors import Error
from keyfpn.training.engine.batches import load_batches, positions, seed_global_draws


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_every_pass_takes_each_picture_once_in_an_order_of_its_own(
    count: int, batch: int, seed: int, number: int
) -> None:
    drawn = [
        place for step in range(-(-(number + 2) * count // batch)) for place in positions(step, batch, count, seed)
    ]
    one, next_one = (drawn[at * count : (at + 1) * count] for at in (number, number + 1))
    assert Counter(one) == Counter(range(count))
    if count > 12:  # the odds of two equal orders are below one in 10^9
        assert one != next_one


def test_another_seed_gives_other_batches() -> None:
    assert positions(0, 3, 10, 1) != positions(0, 3, 10, 2)


class Numbers(Dataset[int | Error]):
    """The step's own number; step 3 ends in an error."""

    def __getitem__(self, step: int) -> int | Error:
        return Error(f"step {step}", "a number", "none", "Look again.") if step == 3 else step


def test_batches_come_in_order_up_to_an_error_that_is_raised_as_it_was_made() -> None:
    loaded = load_batches(Numbers(), range(1, 6))
    assert [next(loaded), next(loaded)] == [1, 2]
    with pytest.raises(Error, match=r"^step 3: expected a number, found none\. Look again\.$"):
        next(loaded)


def test_numpys_own_draws_follow_from_the_seed_and_the_step() -> None:
    def drawn(seed: int, step: int) -> float:
        seed_global_draws(seed, step)
        return float(np.random.random())

    assert drawn(1, 2) == drawn(1, 2)
    assert len({drawn(seed, step) for seed in range(3) for step in range(3)}) == 9
