"""The course of a run as a picture: the loss of each step, and what the evaluations found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keyfpn.protocol.files import whole_file

from .log import Record


def plot_log(records: Sequence[Record], path: Path) -> None:
    """Draw a log's records into a PNG file; nothing where no step was taken yet."""
    steps = [record for record in records if "loss" in record]
    evaluations = [record for record in records if "evaluation" in record]
    if not steps:
        return
    figure = Figure(figsize=(7, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    at, losses = ([record[name] for record in steps] for name in ("step", "loss"))
    above.plot(at, losses, color="0.8", linewidth=0.8, label="each step")
    window = max(1, len(losses) // 20)
    means = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    above.plot(at[window - 1 :], means, label=f"mean of {window} steps")
    for name in evaluations[0]["evaluation"] if evaluations else ():
        values = [record["evaluation"][name] for record in evaluations]
        below.plot([record["step"] for record in evaluations], _with_gaps(values), marker="o", label=name)
    above.set(ylabel="loss", ylim=(0, 1.05 * float(np.quantile(losses, 0.99))))
    below.set(xlabel="step", ylabel="evaluation, averaged weights", ylim=(0, None))
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
