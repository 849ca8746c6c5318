"""The batches of steps: each follows from the seed and the step's number alone, and is loaded ahead of its use."""

from __future__ import annotations

import signal
from collections.abc import Generator
from typing import TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from keyfpn.protocol.errors import Error

Batch = TypeVar("Batch")


def positions(step: int, batch: int, count: int, seed: int) -> list[int]:
    """Which of ``count`` samples make the batch of a step: passes over all of them, each in an order of its own."""
    passes, places = np.divmod(np.arange(step * batch, (step + 1) * batch), count)
    orders = {number: np.random.default_rng([seed, number]).permutation(count) for number in set(passes.tolist())}
    return [int(orders[number][place]) for number, place in zip(passes.tolist(), places.tolist(), strict=True)]


def seed_global_draws(seed: int, step: int) -> None:
    """Seed NumPy's global generator for a step: detectron2's augmentations draw from it."""
    np.random.seed(np.random.SeedSequence([seed, step]).generate_state(4))


def load_batches(batches: Dataset[Batch | Error], steps: range) -> Generator[Batch]:
    """Load the batches of steps in order, ahead of their use, in processes of their own.

    Args:
        batches: item ``step`` is the batch of that step, or the error that it ended in: a worker process would wrap
            one that is raised.
        steps: whose batches to load.

    Raises:
        Error: the one that a batch ended in.
    """
    loader = DataLoader(
        batches, sampler=steps, batch_size=None, num_workers=2, prefetch_factor=4, worker_init_fn=_leave_signals
    )
    for batch in loader:
        if isinstance(batch, Error):
            raise batch
        yield batch


def _leave_signals(_worker: int) -> None:
    # Ctrl-C goes to every process of the terminal: the run's own process ends in its own way, and then its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
