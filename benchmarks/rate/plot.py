"""The result as a picture: bytes against AP."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import ArrayLike

from .result import DROPS, STUDY_RATIO, RateResult

# Okabe and Ito's palette, which the colour-blind tell apart; each family has a marker of its own besides.
_STYLES = {
    "jpeg": ("#E69F00", "o"),
    "webp": ("#56B4E9", "s"),
    "avif": ("#009E73", "D"),
    "raw": ("#000000", "v"),
    "interpolate": ("#CC79A7", "^"),
    "learned": ("#0072B2", "P"),
}
_OTHER = ("#D55E00", "X")
_SHIFT, _NOTE = "offset points", "0.3"


def draw_plot(result: RateResult) -> bytes:
    """Draw a PNG: every row a point, every family's envelope a line, the unsplit AP and the drops across."""
    figure = Figure(figsize=(9.5, 6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for family, curve in result.families.items():
        colour, marker = _STYLES.get(family, _OTHER)
        points = [f for row, f in zip(result.rows, result.figures, strict=True) if row.family == family]
        rates, aps = [f.bytes for f in points], [f.metrics.AP for f in points]
        axes.scatter(rates, aps, s=12, color=colour, marker=marker, alpha=0.45, linewidths=0)
        axes.plot(
            [p.rate for p in curve], [p.ap for p in curve], color=colour, marker=marker, markersize=5, label=family
        )
    _draw_levels(axes, result)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _bytes(value)))
    axes.xaxis.minorticks_off()
    axes.set_xlabel("bytes per picture (mean, log scale)")
    axes.set_ylabel("AP")
    axes.grid(alpha=0.25)
    axes.legend(title="lower envelope of", loc="best")
    axes.set_title(f"{result.model.name}, {result.pictures} pictures, {result.precision}")
    _add_ratio_axis(axes, result)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _draw_levels(axes: Axes, result: RateResult) -> None:
    levels = [(f"unsplit {result.unsplit_ap:.2f}", result.unsplit_ap, "-")]
    levels += [(f"{DROPS[drop]}: {floor:.2f}", floor, "--") for drop, floor in result.floors.items()]
    for words, ap, style in levels:
        axes.axhline(ap, color="0.45", linewidth=0.9, linestyle=style, zorder=0)
        axes.annotate(words, (0.005, ap), (0, 2), ("axes fraction", "data"), _SHIFT, fontsize=8, color=_NOTE)
    axes.axvline(result.raw_bytes / STUDY_RATIO, color="0.45", linewidth=0.9, linestyle=":", zorder=0)
    at, words = (result.raw_bytes / STUDY_RATIO, 0.01), f"the study's {STUDY_RATIO}x"
    axes.annotate(words, at, (3, 0), ("data", "axes fraction"), _SHIFT, fontsize=8, color=_NOTE, rotation=90)


def _add_ratio_axis(axes: Axes, result: RateResult) -> None:
    def swap(values: ArrayLike) -> ArrayLike:
        return result.raw_bytes / np.maximum(values, 1e-9)  # matplotlib asks for 0, too

    above = axes.secondary_xaxis("top", functions=(swap, swap))
    above.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    above.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}x"))
    above.xaxis.minorticks_off()
    above.set_xlabel("compression ratio against float32 p2 to p6")


def _bytes(value: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"
