"""The measures of sets as a picture: one small panel a measure (matplotlib, drawn without a display)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from siftune.runs.measuring.report import MeasureReport
from siftune.runs.reporting.plots import BEST, DPI, LABEL_WIDTH, METHOD
from siftune.runs.reporting.rows import decimals_for, wrapped
from siftune.selection.measures.catalogue import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
MOST_SIZES = 8
GREY = "#444444"


def measures_figure(report: MeasureReport) -> Figure:
    """A panel a measure: the sets below one another, their values, the best of each size outlined."""
    from matplotlib.figure import Figure

    labels = [wrapped(item.name, LABEL_WIDTH) for item in report.sets]
    left = 0.35 + 0.085 * max(len(line) for label in labels for line in label.split("\n"))
    lines = sum(1 + 0.6 * label.count("\n") for label in labels)
    across = min(ACROSS, len(report.names))
    down = math.ceil(len(report.names) / across)
    size = (max(left + 2.5 * across, 7.0), (0.85 + 0.22 * lines) * down + 0.9)
    figure = Figure(figsize=size, layout="constrained", dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    colours = _colours(report)
    for position, axis in enumerate(axes.flat):
        if position < len(report.names):
            _panel(axis, report, report.names[position], colours)
        else:
            axis.set_visible(False)
    for row in axes:
        row[0].set_yticks(range(len(labels)), labels)
    axes[0][0].set_ylim(len(labels) - 0.5, -0.5)
    figure.suptitle(report.title, fontsize=11, fontweight="bold")
    figure.supxlabel(_caption(report), fontsize=8, color=GREY)
    _legend(figure, colours)
    return figure


def _colours(report: MeasureReport) -> dict[int, str]:
    """A colour for each number of rows, the darker the fewer; one for all where there are too many."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    sizes = sorted({item.rows for item in report.sets})
    if not 1 < len(sizes) <= MOST_SIZES:
        return dict.fromkeys(sizes, METHOD)
    # The light end of the scale is hard to see on white.
    return {size: to_hex(colormaps["viridis"](0.85 * place / (len(sizes) - 1))) for place, size in enumerate(sizes)}


def _panel(axis: Axes, report: MeasureReport, name: str, colours: dict[int, str]) -> None:
    values = [item.values[name] for item in report.sets]
    decimals = decimals_for([value for value in values if not math.isnan(value)])
    best = report.best(name, decimals)
    for position, (item, value) in enumerate(zip(report.sets, values, strict=True)):
        if not math.isnan(value):
            edge, width = (BEST, 1.8) if item.name in best else (colours[item.rows], 0.5)
            axis.scatter(value, position, s=30, color=colours[item.rows], edgecolor=edge, linewidth=width, zorder=3)
        text = "–" if math.isnan(value) else f"{value:,.{decimals}f}"
        weight, ink = ("bold", BEST) if item.name in best else ("normal", GREY)
        axis.annotate(
            text, (1.0, position), xytext=(3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=7, fontweight=weight, color=ink,
        )  # fmt: skip
    better = "more diverse →" if MEASURES[name].more_is_more_diverse else "← more diverse"
    axis.set_title(f"{MEASURES[name].label}\n", fontsize=9.5, fontweight="bold")
    axis.annotate(
        better, (0.5, 1.0), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=8, color=GREY,
    )  # fmt: skip
    axis.margins(x=0.12)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _caption(report: MeasureReport) -> str:
    if len(report.sets) == 1:
        return ""
    sizes = {item.rows for item in report.sets}
    return "red: the most diverse" + (" of the sets that have as many rows" if len(sizes) > 1 else "")


def _legend(figure: Figure, colours: dict[int, str]) -> None:
    from matplotlib.lines import Line2D

    if len(set(colours.values())) > 1:
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colour, label=f"{size:,} rows")
            for size, colour in colours.items()
        ]
        figure.legend(handles=handles, loc="outside upper right", frameon=False, fontsize=8.5, ncols=len(handles))
