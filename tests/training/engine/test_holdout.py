from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.training.engine.errors import TrainingError
from keyfpn.training.engine.holdout import hold_out


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=60), st.data())
def test_held_out_pictures_are_never_trained_on_and_follow_from_their_names(ids: set[int], draw: st.DataObject) -> None:
    pictures = sorted(ids)
    count = draw.draw(st.integers(1, len(ids) - 1))
    training, held_out = hold_out(pictures, count, str)
    assert len(held_out) == count
    assert not set(training) & set(held_out)
    assert {*training, *held_out} == set(pictures)
    again = hold_out(draw.draw(st.permutations(pictures)), count, str)
    assert again == (training, held_out)
    _, held_out_of_others = hold_out(held_out + training[:1], count, str)  # the order among the same pictures stays
    assert set(held_out_of_others) == set(held_out)


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(TrainingError, match=r"^pictures: expected more than the 2 to hold out, found 2\."):
        hold_out([1, 2], 2, str)
