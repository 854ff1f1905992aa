"""What a refinement did to rows of which something is known: a picture over several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.plots import DPI, LINES
from siftune.runs.rounds.report import RefinementReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def kinds_figure(
    reports: Sequence[RefinementReport],
    kinds: np.ndarray,
    others: Mapping[str, Sequence[np.ndarray]] | None = None,
    name: str = "refinement",
) -> Figure:
    """The share of the weights, and of the rows drawn, that each value of a column has by round.

    reports: of runs on one pool that differ in their seed. kinds: (n,) the column. A cluster's weight is shared evenly
    by its rows. Lines are means over the runs, bands reach from the least to the greatest, dotted lines are the pool.
    others: name of a method -> the rows that it picked, a run each; with them a panel compares all picks, the
    refinement's under `name`.
    """
    from matplotlib.figure import Figure

    kinds = kinds.astype(str)
    figure = Figure(figsize=(15.0 if others else 10.5, 4.2), layout="constrained", dpi=DPI)
    left, right, *beside = figure.subplots(1, 3 if others else 2, sharey=True)
    _, points = reports[0].history()
    mass = np.array([weight_shares(report, kinds) for report in reports])
    drawn = np.array([draw_shares(report, kinds) for report in reports])
    for position, value in enumerate(np.unique(kinds)):
        colour, pool = LINES[position % len(LINES)], float((kinds == value).mean())
        _band(left, mass[:, :, position], colour, value)
        _band(right, drawn[:, :, position], colour, value)
        for axis in (left, right, *beside):
            axis.axhline(100 * pool, color=colour, linestyle=":", linewidth=1.0)
    if others:
        _compare(beside[0], {name: [report.picks for report in reports], **others}, kinds)
    for axis, ticks, what in ((left, points, "weights"), (right, points[: len(reports[0].rounds)], "rows drawn")):
        points_axis(axis, ticks)
        plain(axis, f"share of the {what} (%)")
        axis.set_ylim(bottom=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8.5)
    runs = f"mean of {len(reports)} runs, band: least to greatest; " if len(reports) > 1 else ""
    figure.supxlabel(f"{runs}dotted: share of the pool", fontsize=8, color="#444444")
    return figure


def weight_shares(report: RefinementReport, kinds: np.ndarray) -> np.ndarray:
    """(points, values) share of the weights that rows of each value, in alphabetical order, have at each point."""
    assert report.labels is not None
    weights, _ = report.history()
    per_row = np.hstack([weights / np.maximum(report.sizes, 1), np.zeros((len(weights), 1))])[:, report.labels]
    shares = np.array([per_row[:, kinds == value].sum(axis=1) for value in np.unique(kinds)]).T
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def draw_shares(report: RefinementReport, kinds: np.ndarray) -> np.ndarray:
    """(rounds, values) share of each round's rows that have each value, in alphabetical order."""
    return np.array([pick_shares(entry.rows, kinds) for entry in report.rounds])


def pick_shares(rows: np.ndarray, kinds: np.ndarray) -> list[float]:
    """Share of the rows that have each value, in alphabetical order."""
    return [float((kinds[rows] == value).mean()) for value in np.unique(kinds)]


def _compare(axis: Axes, methods: Mapping[str, Sequence[np.ndarray]], kinds: np.ndarray) -> None:
    """A dot a method and value: the mean over its runs, from the least to the greatest."""
    values = np.unique(kinds)
    width = 0.5 / max(len(values) - 1, 1)
    for at, picks in enumerate(methods.values()):
        shares = 100 * np.array([pick_shares(rows, kinds) for rows in picks])
        for position, mean in enumerate(shares.mean(axis=0)):
            error = [[mean - shares[:, position].min()], [shares[:, position].max() - mean]]
            colour = LINES[position % len(LINES)]
            axis.errorbar(
                at - 0.25 + width * position, mean, yerr=error, color=colour, marker="o", markersize=5, capsize=3
            )
    axis.set_xticks(range(len(methods)), list(methods))
    axis.set_xlim(-0.5, len(methods) - 0.5)
    plain(axis, "share of all picks (%)")


def _band(axis: Axes, shares: np.ndarray, colour: str, name: str) -> None:
    at = np.arange(shares.shape[1])
    axis.plot(at, 100 * shares.mean(axis=0), color=colour, marker="o", markersize=4, linewidth=1.8, label=name)
    axis.fill_between(at, 100 * shares.min(axis=0), 100 * shares.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def points_axis(axis: Axes, points: Sequence[str]) -> None:
    """The ticks of rounds: of many, every so many."""
    every = -(-len(points) // 7)
    names = [name.replace("after ", "after\n") for name in points]
    if len(points) > 7:
        names = ["end" if name.startswith("after") else name.split()[-1] for name in points]
    axis.set_xticks(range(0, len(points), every), names[::every])
    if len(points) > 7:
        axis.set_xlabel("round", fontsize=9)


def plain(axis: Axes, title: str) -> None:
    """A title, and no more lines than are needed."""
    axis.set_title(title, fontsize=9.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)
