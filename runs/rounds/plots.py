"""The weights of a refinement loop's clusters over its rounds, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.plots import DPI, LINES, REST
from siftune.runs.rounds.changes import cut
from siftune.runs.rounds.kinds import kinds_figure, plain, points_axis
from siftune.runs.rounds.pool_map import clusters_figure, moved_most
from siftune.runs.rounds.report import RefinementReport
from siftune.runs.rounds.tables import explained, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["clusters_figure", "kinds_figure", "weights_figure"]

EACH = len(LINES)
"""Up to so many clusters have a line each; of more, their quantiles and those that moved most are shown."""
LOST, GAINED, MIDDLE = "#B2182B", "#2166AC", "#777777"
LINE_GAP = 0.045
"""Between the names of two lines, in heights of the panel."""
FLOOR = 1e-3
"""The least weight, against the first one, that the axis tells from none."""


def weights_figure(report: RefinementReport) -> Figure | None:
    """Weights over the rounds, rows drawn a round, and mean S; None for a loop without clusters."""
    from matplotlib.figure import Figure

    if report.names is None:
        return None
    figure = Figure(figsize=(13.2, 4.2), layout="constrained", dpi=DPI)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    if report.clusters <= EACH:
        _each_weight(left, report)
        _each_draw(middle, report)
        _each_mean(right, report)
    else:
        _many_weights(left, report)
        _many_draws(middle, report)
        _many_means(right, report)
    figure.suptitle(
        f"Weights of {report.clusters:,} clusters over {len(report.rounds)} rounds", fontsize=11, weight="bold"
    )
    figure.supxlabel(explained(report).replace("`", ""), fontsize=8, color="#444444")
    return figure


def _each_weight(axis: Axes, report: RefinementReport) -> None:
    weights, points = report.history()
    for cluster, colour in zip(range(report.clusters), LINES, strict=False):
        assert report.names is not None
        axis.plot(weights[:, cluster], color=colour, marker="o", markersize=4, label=cut(report.names[cluster], 24))
    axis.axhline(1 / report.clusters, color=MIDDLE, linestyle=":", linewidth=1)
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8.5)
    points_axis(axis, points)
    plain(axis, "weight of each cluster (dotted: 1/K)")


def _each_draw(axis: Axes, report: RefinementReport) -> None:
    drawn = np.array([report.drawn(entry) for entry in report.rounds])
    start = np.zeros(len(drawn))
    for cluster, colour in zip(range(report.clusters), LINES, strict=False):
        axis.bar(range(len(drawn)), drawn[:, cluster], 0.62, start, color=colour, edgecolor="white", linewidth=0.8)
        for position, count in enumerate(drawn[:, cluster]):
            if count >= 0.05 * drawn.sum(axis=1).max():
                at = start[position] + count / 2
                axis.text(position, at, str(count), ha="center", va="center", fontsize=8, color="white")
        start += drawn[:, cluster]
    points_axis(axis, _rounds(report))
    plain(axis, "rows drawn")


def _each_mean(axis: Axes, report: RefinementReport) -> None:
    """Mean S with its standard error; the clusters side by side, so that no bar hides another."""
    assert report.labels is not None
    width = 0.5 / max(report.clusters - 1, 1)
    for cluster, colour in zip(range(report.clusters), LINES, strict=False):
        for position, entry in enumerate(report.rounds):
            if entry.values is None:
                continue
            own = entry.values[(report.labels[entry.rows] == cluster) & np.isfinite(entry.values)]
            if len(own):
                error = own.std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else 0.0
                at = position - 0.25 + width * cluster
                axis.errorbar(at, own.mean(), yerr=error, color=colour, marker="o", markersize=5, capsize=2.5)
    _scored_rounds(axis, report)
    plain(axis, "mean S of the drawn rows (bar: standard error)")


def _many_weights(axis: Axes, report: RefinementReport) -> None:
    _, points = report.history()
    relative, at = np.maximum(report.relative(), FLOOR), np.arange(len(points))
    for low, high, alpha in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3)):
        below, above = np.quantile(relative, (low, high), axis=1)
        label = f"{high - low:.0%} of the clusters"
        axis.fill_between(at, below, above, color=MIDDLE, alpha=alpha, linewidth=0, label=label)
    axis.plot(at, np.median(relative, axis=1), color=MIDDLE, linewidth=1.8, label="median")
    moved = moved_most(report)
    for cluster in moved:
        colour = GAINED if relative[-1, cluster] > relative[0, cluster] else LOST
        axis.plot(at, relative[:, cluster], color=colour, linewidth=1.3, marker="o", markersize=3)
    _log_scale(axis)
    _label_ends(axis, report, moved, relative[-1])
    axis.axhline(1, color="black", linestyle=":", linewidth=0.8)
    axis.legend(frameon=False, fontsize=8)
    points_axis(axis, points)
    plain(axis, "weight of each cluster against its first weight\n(lines: those that moved most)")


def _label_ends(axis: Axes, report: RefinementReport, clusters: np.ndarray, ends: np.ndarray) -> None:
    """The names of lines right of their ends, moved apart where they end close to each other."""
    assert report.names is not None
    low, high = np.log(axis.get_ylim())
    order = clusters[np.argsort(ends[clusters], kind="stable")]
    heights = (np.log(ends[order]) - low) / (high - low)
    steps = LINE_GAP * np.arange(len(order))
    heights = np.maximum.accumulate(heights - steps) + steps
    heights = np.minimum(heights, 1 - steps[::-1])
    for cluster, height in zip(order, heights, strict=True):
        colour = GAINED if ends[cluster] > 1 else LOST
        name = cut(report.names[cluster], 16)
        axis.text(1.01, height, name, transform=axis.transAxes, va="center", fontsize=7.5, color=colour)


def _log_scale(axis: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(axis.get_ylim())


def _many_draws(axis: Axes, report: RefinementReport) -> None:
    weights, points = report.history()
    drawn = [int(np.count_nonzero(report.drawn(entry))) for entry in report.rounds]
    axis.bar(range(len(drawn)), drawn, 0.55, color=REST, label="clusters drawn from")
    for position, count in enumerate(drawn):
        axis.annotate(f"{count:,}", (position, 0), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
    even = [spread(row) for row in weights]
    axis.plot(even, color="black", marker="o", markersize=4, label="the weights are as even\nas over so many clusters")
    axis.set_ylim(0, 1.3 * max(*drawn, *even))
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    points_axis(axis, points)
    plain(axis, "clusters")


def _many_means(axis: Axes, report: RefinementReport) -> None:
    """A box a round, and dots where the clusters are that have a line."""
    scored = [(at, entry.means) for at, entry in enumerate(report.rounds) if entry.means is not None]
    boxes = [means[np.isfinite(means)] for _, means in scored]
    axis.boxplot(
        boxes, positions=[at for at, _ in scored], widths=0.4, whis=(5, 95), showfliers=False,
        medianprops={"color": "black"}, boxprops={"color": MIDDLE}, whiskerprops={"color": MIDDLE},
    )  # fmt: skip
    end = report.relative()[-1]
    for at, means in scored:
        for cluster in moved_most(report):
            axis.plot(at, means[cluster], ".", markersize=9, color=GAINED if end[cluster] > 1 else LOST)
    _scored_rounds(axis, report)
    plain(axis, "mean S of each cluster\n(box: 50%, whiskers: 90%, dots: the lines)")


def _scored_rounds(axis: Axes, report: RefinementReport) -> None:
    for at, entry in enumerate(report.rounds):
        if entry.means is None:
            turned = 0 if len(report.rounds) <= 5 else 90
            axis.annotate(
                "not scored", (at, 0.5), xycoords=("data", "axes fraction"), ha="center", fontsize=8, rotation=turned
            )
    axis.axhline(0, color=MIDDLE, linewidth=0.8)
    axis.set_xlim(-0.5, len(report.rounds) - 0.5)
    points_axis(axis, _rounds(report))


def _rounds(report: RefinementReport) -> list[str]:
    return [f"round {entry.number}" for entry in report.rounds]
