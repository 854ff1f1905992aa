"""A study of correlations as pictures (matplotlib, drawn without a display)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.plots import AREAS, DPI, METHOD
from siftune.runs.studies.correlation_result import Findings, Study
from siftune.runs.studies.correlation_tables import arrow, spell
from siftune.runs.studies.statistics import Correlation, Estimate, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX*<>"
WITHIN = "#E69F00"
ACROSS = 4
LABEL_LENGTH = 34


def scatter_figure(study: Study, findings: Findings) -> Figure:
    """A panel a measure: its value against the quality, a dot a subset, colour = method, marker = size."""
    quality = study.quality
    panels = {measure: (study.values[measure], quality, findings.over_all[measure]) for measure in findings.order}
    figure = _grid(study, panels)
    figure.suptitle(
        f"{len(study.subsets)} subsets: how diverse, and how good the model trained on it", fontweight="bold"
    )
    figure.supylabel("quality: mean z-score of the benchmarks →", fontsize=9)
    figure.supxlabel("the measure's value; to the right: more diverse", fontsize=9)
    return figure


def within_figure(study: Study, findings: Findings) -> Figure | None:
    """The same standardised within sizes; None where there is one size."""
    if not findings.by_size:
        return None
    quality = _within(study.quality, study.budgets)
    panels = {
        measure: (_within(study.values[measure], study.budgets), quality, findings.within[measure])
        for measure in findings.order
    }
    figure = _grid(study, panels)
    figure.suptitle("The same within sizes: measure and quality standardised in each", fontweight="bold")
    figure.supylabel("quality, standardised within its size →", fontsize=9)
    figure.supxlabel("the measure, standardised within its size; to the right: more diverse", fontsize=9)
    return figure


def correlations_figure(study: Study, findings: Findings) -> Figure:
    """Every measure's correlations with their intervals, Pearson's and Spearman's side by side."""
    from matplotlib.figure import Figure

    percent = f"{100 * study.resampling.confidence:g}%"
    sets = {f"all {len(study.subsets)} subsets": (findings.over_all, METHOD, "o", -0.16)}
    if findings.by_size:
        sets["within sizes"] = (findings.within, WITHIN, "D", 0.16)
    figure = Figure(figsize=(9.5, 1.5 + 0.36 * len(findings.order)), layout="constrained", dpi=DPI)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("pearson", "spearman"), strict=True):
        for label, (found, colour, marker, shift) in sets.items():
            for place, measure in enumerate(findings.order):
                _interval(axis, place + shift, getattr(found[measure], name), colour, marker)
            axis.plot([], [], color=colour, marker=marker, label=f"{label}, with {percent} interval")
        axis.axvline(0, color="#444444", linewidth=0.8)
        axis.set_xlim(-1.04, 1.04)
        axis.set_xlabel(f"{name.capitalize()} correlation with the quality", fontsize=9)
        axis.grid(axis="x", color="#E6E6E6", linewidth=0.6)
        _bare(axis)
    axes[0].set_yticks(range(len(findings.order)), [arrow(measure) for measure in findings.order])
    axes[0].set_ylim(len(findings.order) - 0.4, -0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle("Does the more diverse subset have the better model?", fontweight="bold", fontsize=11)
    return figure


def _grid(study: Study, panels: Mapping[str, tuple[np.ndarray, np.ndarray, Correlation]]) -> Figure:
    from matplotlib.figure import Figure

    down = math.ceil(len(panels) / ACROSS)
    across = min(len(panels), ACROSS)
    figure = Figure(figsize=(2.9 * across + 2.0, 2.5 * down + 1.0), layout="constrained", dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    colours = _colours(study)
    markers = dict(zip(dict.fromkeys(study.budgets), MARKERS * len(study.budgets), strict=False))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (measure, (values, quality, correlation)) in zip(axes.flat, panels.items(), strict=False):
        for subset, value, height in zip(study.subsets, values, quality, strict=True):
            axis.scatter(
                value, height, s=26, alpha=0.9, marker=markers[subset.budget], color=colours[subset.label],
                edgecolor="white", linewidth=0.4, zorder=3,
            )  # fmt: skip
        _label(axis, measure, correlation)
    _legend(figure, colours, markers)
    return figure


def _label(axis: Axes, measure: str, correlation: Correlation) -> None:
    label = arrow(measure)
    axis.set_title(label, fontsize=9.5, fontweight="bold", pad=18)
    note = f"r {spell(correlation.pearson)}  ρ {_value(correlation.spearman)}"
    if correlation.pearson is None:
        note = correlation.note
    axis.annotate(
        note, (0.5, 1.0), xytext=(0, 5), xycoords="axes fraction", textcoords="offset points", ha="center",
        fontsize=7.5, color="#444444",
    )  # fmt: skip
    if label.endswith("↓"):
        axis.invert_xaxis()
    axis.locator_params(axis="x", nbins=4)
    axis.grid(color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)
    _bare(axis)


def _legend(figure: Figure, colours: Mapping[str, str], markers: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], linestyle="", marker="o", color=colour, label=_cut(label)) for label, colour in colours.items()
    ]
    shapes = [
        Line2D([], [], linestyle="", marker=marker, color="#666666", label=budget) for budget, marker in markers.items()
    ]
    blank = Line2D([], [], linestyle="", label=" ")
    figure.legend(handles=[*dots, blank, *shapes], loc="outside right upper", frameon=False, fontsize=8.5)


def _colours(study: Study) -> dict[str, str]:
    """Method -> colour, in alphabetical order; of more methods than colours, some share one."""
    labels = sorted({subset.label for subset in study.subsets})
    return {label: AREAS[place % len(AREAS)] for place, label in enumerate(labels)}


def _within(values: np.ndarray, budgets: Sequence[str]) -> np.ndarray:
    names, inside = np.asarray(budgets), np.empty(len(values))
    for name in dict.fromkeys(budgets):
        inside[names == name] = standardised(values[names == name])
    return inside


def _interval(axis: Axes, place: float, estimate: Estimate | None, colour: str, marker: str) -> None:
    if estimate is not None:
        axis.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="round")
        axis.plot(estimate.value, place, color=colour, marker=marker, markersize=5)


def _value(estimate: Estimate | None) -> str:
    return spell(estimate).split(" ")[0]


def _bare(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7.5)


def _cut(text: str) -> str:
    return text if len(text) <= LABEL_LENGTH else text[: LABEL_LENGTH - 1] + "…"
