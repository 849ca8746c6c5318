"""The figures of the level study."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keyfpn.console.tables import ratio

from .mix import MixSearch, best, mix_of
from .rebuild import KEY_LEVELS, LEVELS, Degrade
from .result import SIZES, STUDY_PAIRS, LevelResult
from .rows import FACTORS, PAIRS, Measured
from .scopes import SCOPES, Scope

FIGURES: Mapping[str, str] = MappingProxyType(
    {
        "factors.png": "AP against the factor of one level, for each object size",
        "pairs.png": "AP lost with two neighbouring levels at the largest factor",
        "p4mix.png": "AP on train pictures over (a, b) of the rule for p4",
        "keysets.png": "Values sent against AP of every set of key levels",
    }
)
"""File name to what it shows."""
_WORDS: Mapping[Scope, str] = MappingProxyType({"rpn": "RPN only", "full": "RPN and ROI heads"})
# Okabe and Ito's palette, which the colour-blind tell apart; each line has a marker of its own besides.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")
_MARKERS = "osD^v"


def draw_figures(result: LevelResult) -> dict[str, bytes]:
    """Draw, as PNG, what there are measurements for; keys are of :data:`FIGURES`."""
    figures = {}
    if result.find(Degrade.of(LEVELS, FACTORS[-1]), "full"):
        figures["factors.png"] = _png(_draw_factors(result))
        figures["pairs.png"] = _png(_draw_pairs(result))
    if result.search is not None:
        figures["p4mix.png"] = _png(_draw_mixes(result.search))
    if result.of("keyset", "full"):
        figures["keysets.png"] = _png(_draw_key_sets(result))
    return figures


def _draw_factors(result: LevelResult) -> Figure:
    figure = Figure(figsize=(11, 6.5), dpi=110, layout="constrained")
    panels = figure.subplots(len(SCOPES), len(SIZES), sharex=True, sharey="col")
    for scope, row in zip(SCOPES, panels, strict=True):
        for (name, words), axes in zip(SIZES.items(), row, strict=True):
            unsplit = getattr(result.unsplit.metrics, name)
            for level, colour, marker in zip(LEVELS, _COLOURS, _MARKERS, strict=True):
                found = [result.find(Degrade.of((level,), factor), scope) for factor in FACTORS]
                aps = [unsplit, *(getattr(one.figures.metrics, name) for one in found if one)]
                axes.plot([1, *FACTORS], aps, color=colour, marker=marker, markersize=5, label=level)
            axes.set_xscale("log", base=2)
            axes.set_xticks([1, *FACTORS], [f"{factor:g}" for factor in (1, *FACTORS)])
            axes.set_title(f"{words} objects, {_WORDS[scope]}", fontsize=10)
            axes.grid(alpha=0.25)
    for axes in panels[-1]:
        axes.set_xlabel("factor of the level")
    for axes in panels[:, 0]:
        axes.set_ylabel("AP")
    panels[0, 0].legend()
    return figure


def _draw_pairs(result: LevelResult) -> Figure:
    figure = Figure(figsize=(11, 4), dpi=110, layout="constrained")
    width = 0.38
    for (name, words), axes in zip(SIZES.items(), figure.subplots(1, len(SIZES), sharey=True), strict=True):
        unsplit = getattr(result.unsplit.metrics, name)
        for shift, scope, colour in zip((-width / 2, width / 2), SCOPES, _COLOURS, strict=False):
            found = [result.find(Degrade.of(pair, FACTORS[-1]), scope) for pair in PAIRS]
            values = [getattr(one.figures.metrics, name) - unsplit for one in found if one]
            ends = np.array([one.figures.intervals[name] for one in found if one]).T
            errors = np.maximum(np.array([values - ends[0], ends[1] - values]), 0)
            at = np.arange(len(values)) + shift
            axes.bar(at, values, width, color=colour, label=_WORDS[scope])
            axes.errorbar(at, values, errors, fmt="none", color="0.2", linewidth=1, capsize=2)
        pair, drop = STUDY_PAIRS[name]
        axes.plot(PAIRS.index(pair) - width / 2, drop, "k*", markersize=10, label="the study (X101)")
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.set_xticks(range(len(PAIRS)), ["+".join(pair) for pair in PAIRS])
        axes.set_title(f"{words} objects", fontsize=10)
        axes.grid(axis="y", alpha=0.25)
    figure.axes[0].set_ylabel(f"AP lost with both levels at {FACTORS[-1]:g}")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_mixes(search: MixSearch) -> Figure:
    figure = Figure(figsize=(11, 4.8), dpi=110, layout="constrained")
    for scope, axes in zip(SCOPES, figure.subplots(1, len(SCOPES)), strict=True):
        points = {mix_of(one): one.ap for one in search.measured if one.row.scope == scope}
        a_axis, b_axis = (sorted({mix[index] for mix in points}) for index in (0, 1))
        # Grids that were moved on leave corners untried.
        grid = np.array([[points.get((a, b), np.nan) for a in a_axis] for b in b_axis])
        image = axes.imshow(grid, origin="lower", cmap="viridis")
        middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
        for (row, column), value in np.ndenumerate(grid):
            if np.isnan(value):
                continue
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
        for mix, marker, words in (
            (search.least_squares, "s", "least squares"),
            (mix_of(best(search.measured, scope)), "o", "highest AP"),
        ):
            at = (a_axis.index(mix[0]), b_axis.index(mix[1]))
            axes.plot(*at, marker, markersize=26, fillstyle="none", color="red", label=words)
        axes.set_xticks(range(len(a_axis)), [f"{a:.2f}" for a in a_axis])
        axes.set_yticks(range(len(b_axis)), [f"{b:.2f}" for b in b_axis])
        axes.set(xlabel="a, of p5 scaled up", ylabel="b, of p3 scaled down", title=f"{_WORDS[scope]}: AP")
        figure.colorbar(image, ax=axes, shrink=0.85)
    marks = figure.axes[0].get_legend_handles_labels()
    figure.legend(*marks, loc="outside lower center", ncols=2, fontsize=8, markerscale=0.3)
    return figure


def _draw_key_sets(result: LevelResult) -> Figure:
    figure = Figure(figsize=(12, 6), dpi=110, layout="constrained")
    for scope, axes in zip(SCOPES, figure.subplots(1, len(SCOPES), sharey=True), strict=True):
        _draw_front(axes, result, scope)
        axes.set_title(_WORDS[scope], fontsize=10)
        axes.set_xlabel("key levels, and how many times fewer values they are")
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("AP")
    figure.axes[0].legend(loc="lower right")
    return figure


def _draw_front(axes: Axes, result: LevelResult, scope: Scope) -> None:
    sets = sorted(result.of("keyset", scope), key=lambda one: one.elements)
    # Side by side in order of their size: on a scale the sets with p2 would lie on one another.
    places = {levels: place for place, levels in enumerate(dict.fromkeys(_levels(one) for one in sets))}
    codecs = dict.fromkeys(_codec(one) for one in sets)
    for codec, colour, marker in zip(codecs, _COLOURS, _MARKERS, strict=False):
        shown = [one for one in sets if _codec(one) == codec]
        at = [places[_levels(one)] for one in shown]
        axes.plot(at, [one.ap for one in shown], marker, color=colour, label=codec)
    front = result.front(scope)
    at = [places[_levels(one)] for one in front]
    axes.plot(at, [one.ap for one in front], "-", color="0.5", label="Pareto front", zorder=0)
    ratios = {_levels(one): result.ratio(one) for one in sets}
    names = [f"{'+'.join(levels)}  {ratio(ratios[levels])}x" for levels in places]
    axes.set_xticks(range(len(places)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    for levels, label in zip(places, axes.get_xticklabels(), strict=True):
        label.set_fontweight("bold" if levels == KEY_LEVELS else "normal")
    axes.axhline(result.unsplit.metrics.AP, color="0.45", linewidth=0.9, zorder=0)
    axes.axhline(result.unsplit.metrics.AP - result.max_drop, color="0.45", linewidth=0.9, linestyle="--", zorder=0)


def _levels(one: Measured) -> tuple[str, ...]:
    return one.row.key_levels or ()


def _codec(one: Measured) -> str:
    return one.row.setting.partition(":")[0]


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
