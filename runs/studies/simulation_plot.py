"""The simulation as a picture: a row a measure, a column a scenario (matplotlib, drawn without a display)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.plots import BASELINE, BEST, DPI, METHOD
from siftune.runs.studies.simulation_result import HIGH, REVERSED, SimulationResult
from siftune.runs.studies.simulation_table import label_of, number, title
from siftune.selection.measures.simulation import SCENARIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#444444"
COLOURS = {"in order": METHOD, "unsure": BASELINE, "opposite": BEST, "undefined": GREY}
CAPTION = (
    "Line: the measure, mean over seeds, turned so that up is more diverse by it; band: all seeds; every panel has its "
    "own scale. Number: rank correlation with the known order.\n"
    f"Blue: in order (at least {HIGH:g} for every seed). Orange: not reliably. Red: the opposite order (at most "
    f"{REVERSED:g} on average).".replace("-", "−")
)


def simulation_figure(result: SimulationResult) -> Figure:
    """Every measure's curve in every scenario, coloured by whether it has the known order."""
    from matplotlib.figure import Figure

    down, across = len(result.values), len(result.amounts)
    figure = Figure(figsize=(1.9 + 1.75 * across, 1.7 + 0.8 * down), layout="constrained", dpi=DPI)
    axes = figure.subplots(down, across, squeeze=False, sharex="col")
    for line, measure in zip(axes, result.values, strict=True):
        for axis, scenario in zip(line, result.amounts, strict=True):
            _curve(axis, result, measure, scenario)
        line[0].set_ylabel(label_of(measure), rotation=0, ha="right", va="center", fontsize=9)
    for column, (scenario, amounts) in enumerate(result.amounts.items()):
        axes[0][column].set_title(f"{SCENARIOS[scenario].label} →", fontsize=10, fontweight="bold")
        last = axes[-1][column]
        last.set_xticks([0, len(amounts) - 1], [f"{amounts[0]:.3g}", f"{amounts[-1]:.3g}"])
        last.set_xlabel(SCENARIOS[scenario].counted, fontsize=8.5, color=GREY)
    figure.suptitle(title(result), fontsize=11, fontweight="bold")
    figure.supxlabel(CAPTION, fontsize=8, color=GREY)
    return figure


def _curve(axis: Axes, result: SimulationResult, measure: str, scenario: str) -> None:
    axis.set_yticks([])
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    values, colour = result.upward(measure, scenario), COLOURS[result.verdict(measure, scenario)]
    levels = np.arange(values.shape[1])
    axis.fill_between(levels, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    axis.plot(levels, values.mean(axis=0), color=colour, linewidth=1.6, marker="o", markersize=2.5)
    axis.annotate(
        number(result.agreements(measure, scenario)), (1.0, 0.5), xytext=(3, 0), xycoords="axes fraction",
        textcoords="offset points", va="center", fontsize=8.5, fontweight="bold", color=colour,
    )  # fmt: skip
    axis.margins(x=0.04, y=0.15)
