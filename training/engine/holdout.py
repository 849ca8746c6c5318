"""Divides pictures into those to train on and those to evaluate on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import TrainingError

Item = TypeVar("Item")


def hold_out(pictures: Sequence[Item], count: int, name: Callable[[Item], str]) -> tuple[list[Item], list[Item]]:
    """Divide pictures into those to train on and those to evaluate on.

    A picture's place follows from its name alone (the order of SHA-256), so that all runs on the same data, of any
    seed, hold out the same pictures.

    Args:
        pictures: all of them.
        count: how many to hold out.
        name: what a picture is known by.

    Returns:
        Training pictures and held-out pictures.

    Raises:
        TrainingError: nothing is left to train on.
    """
    if count >= len(pictures):
        hint = "Give more pictures, or a smaller --holdout."
        raise TrainingError("pictures", f"more than the {count} to hold out", len(pictures), hint)
    order = sorted(pictures, key=lambda picture: hashlib.sha256(name(picture).encode()).digest())
    return order[count:], order[:count]
