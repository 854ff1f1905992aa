"""How much of what one method picks the others pick too."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.figures import new_figure
from siftune.runs.reporting.plots import LABEL_WIDTH
from siftune.runs.reporting.rows import wrapped
from siftune.runs.reporting.subsets import Picks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Rows of both by rows of either, each counted once; 0 where both are empty."""
    either = len(np.union1d(one, other))
    return len(np.intersect1d(one, other)) / either if either else 0.0


def overlaps(methods: Sequence[Picks]) -> np.ndarray:
    """(m, m) mean overlap of two methods, seed by seed where they share seeds, else over all pairs of their seeds.

    On the diagonal the mean over pairs of seeds of one method, NaN where there is one seed."""
    found = np.full((len(methods), len(methods)), np.nan)
    for row, one in enumerate(methods):
        pairs = list(combinations(one.rows.values(), 2))
        if pairs:
            found[row, row] = np.mean([jaccard(*pair) for pair in pairs])
        for column in range(row):
            other = methods[column]
            shared = sorted(one.rows.keys() & other.rows.keys())
            pairs = [(one.rows[seed], other.rows[seed]) for seed in shared]
            pairs = pairs or [(a, b) for a in one.rows.values() for b in other.rows.values()]
            found[row, column] = found[column, row] = np.mean([jaccard(*pair) for pair in pairs])
    return found


def by_chance(one: int, other: int, pool: int) -> float:
    """The overlap of two independent random subsets of so many rows: expected common rows by the rest."""
    both = one * other / pool
    return both / (one + other - both)


def overlap_figure(methods: Sequence[Picks], title: str) -> Figure | None:
    """The overlaps as a heat map with its numbers; None where there is one subset alone."""
    from matplotlib import colormaps

    values = overlaps(methods)
    if np.isnan(values).all():
        return None
    names = [wrapped(picks.name, LABEL_WIDTH) for picks in methods]
    side = 0.62 * len(methods)
    figure = new_figure(side + 4.2, side + 2.4, title)
    axis = figure.subplots()
    colours = colormaps["Blues"].with_extremes(bad=(0, 0, 0, 0))
    image = axis.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = "white" if value > 0.55 else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, shrink=0.8, label="rows of both by rows of either")
    return figure
