"""The report as pictures (matplotlib, drawn without a display)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from siftune.runs.reporting.rows import RANDOM, Column, Row, Section, decimals_for, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), safe for the colour-blind.
BASE, BASELINE, METHOD, BEST = "#666666", "#E69F00", "#0072B2", "#D55E00"
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", ":", "-.")
# Paul Tol's "muted" scheme, for areas; grey for what is left.
AREAS = ("#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#44AA99", "#AA4499", "#999933", "#882255")
REST = "#CFCFCF"
LOWER = "#FAF4EA"
OTHER = "other sources"
LABEL_WIDTH = 30
DPI = 150


def scores_figure(section: Section) -> Figure | None:
    """One panel a task: the mean of each method with error bars over seeds, each seed as a dot; None without scores."""
    if not section.columns:
        return None
    panels = len(section.columns)
    across = min(panels, 3 if panels in (3, 5, 6, 9) else 4)
    down = math.ceil(panels / across)
    labels = [wrapped(row.name, LABEL_WIDTH) for row in section.rows]
    left = 0.35 + 0.085 * max(len(line) for label in labels for line in label.split("\n"))
    lines = sum(1 + 0.6 * label.count("\n") for label in labels)
    figure = _figure(left + 3.0 * across, (0.95 + 0.32 * lines) * down + 0.75)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for position, axis in enumerate(axes.flat):
        if position < len(section.columns):
            _score_panel(axis, section, section.columns[position])
        else:
            axis.set_visible(False)
    for row_of_axes in axes:
        row_of_axes[0].set_yticks(range(len(labels)), labels)
    axes[0][0].set_ylim(len(labels) - 0.5, -0.5)
    return _titled(figure, section.title, _legend_of(section))


def sources_figure(section: Section) -> Figure | None:
    """Stacked bars: the source mixture of the pool and of each method's picks (mean over seeds); None without picks."""
    bars = _mixtures(section)
    if not bars:
        return None
    sources = _main_sources(list(bars.values()))
    colours = dict(zip(sources, AREAS, strict=False)) | {OTHER: REST}
    shown = [*sources, OTHER] if any(set(shares) - set(sources) for shares in bars.values()) else sources
    labels = [wrapped(name, LABEL_WIDTH) for name in bars]
    figure = _figure(10.0, 1.1 + 0.42 * sum(1 + 0.4 * label.count("\n") for label in labels), rows_legend=len(shown))
    axis = figure.subplots()
    for position, shares in enumerate(bars.values()):
        _stack(axis, position, _grouped(shares, sources), shown, colours)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.axhline(0.5, color="#444444", linewidth=0.8)
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of rows (%)")
    _bare(axis)
    handles, names = axis.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    _legend(axis, [unique[name] for name in shown], [_cut(name) for name in shown])
    return _titled(figure, section.title, "")


def training_figure(section: Section) -> Figure | None:
    """Training loss by step: the mean over seeds, each seed thin behind it; None where there is no curve."""
    from matplotlib.ticker import MaxNLocator

    curves = {row.name: found for row in section.rows if (found := _curves(row))}
    if not curves:
        return None
    figure = _figure(9.0, max(3.6, 1.2 + 0.2 * len(curves)))
    axis = figure.subplots()
    for position, (name, seeds) in enumerate(curves.items()):
        colour, dash = LINES[position % len(LINES)], DASHES[position // len(LINES) % len(DASHES)]
        for curve in seeds if len(seeds) > 1 else ():
            axis.plot(
                *zip(*sorted(curve.items()), strict=True), color=colour, linestyle=dash, linewidth=0.6, alpha=0.35
            )
        steps = sorted(set.intersection(*(set(curve) for curve in seeds)))
        means = [fmean(curve[step] for curve in seeds) for step in steps]
        axis.plot(steps, means, color=colour, linestyle=dash, linewidth=1.8, label=_cut(name))
    axis.set_xlabel("step")
    axis.set_ylabel("training loss")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="both", color="#E6E6E6", linewidth=0.6)
    _bare(axis)
    _legend(axis, *axis.get_legend_handles_labels())
    return _titled(figure, section.title, "")


def _score_panel(axis: Axes, section: Section, column: Column) -> None:
    decimals = decimals_for([row.scores[column.name].mean for row in section.rows if column.name in row.scores])
    best = section.best(column, decimals)
    for position, row in enumerate(section.rows):
        if column.name in row.scores:
            _score(axis, position, row, column, row.name in best, decimals)
    if section.random is not None and column.name in section.random.scores:
        axis.axvline(section.random.scores[column.name].mean, color=BASELINE, linestyle=":", linewidth=1.2, zorder=1)
    if column.higher_is_better is False:
        axis.set_facecolor(LOWER)
    better = {True: "higher is better →", False: "← LOWER is better", None: ""}[column.higher_is_better]
    axis.set_title(f"{_cut(column.metric)}\n{better}", fontsize=8, color="#444444")
    axis.annotate(
        _cut(column.name), (0.5, 1.0), xytext=(0, 30), xycoords="axes fraction", textcoords="offset points",
        ha="center", fontsize=10, fontweight="bold",
    )  # fmt: skip
    axis.margins(x=0.12)
    _widen(axis)
    axis.locator_params(axis="x", nbins=4)
    axis.grid(axis="both", color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)
    _bare(axis)


def _widen(axis: Axes) -> None:
    """Equal scores give an axis of no width, whose ticks would show nothing but rounding."""
    low, high = axis.get_xlim()
    middle = (low + high) / 2
    least = max(0.02, 0.02 * abs(middle))
    if high - low < least:
        axis.set_xlim(middle - least, middle + least)


def _score(axis: Axes, position: int, row: Row, column: Column, best: bool, decimals: int) -> None:
    """Diamond and bar on the method's line, the seeds just below it, the number at the right edge."""
    statistic = row.scores[column.name]
    colour = BASE if row.is_base else BASELINE if row.label == RANDOM else METHOD
    if statistic.spread is not None:
        axis.errorbar(
            statistic.mean, position, xerr=statistic.spread, color=colour, capsize=3, elinewidth=1.3, zorder=2
        )
    if len(statistic.values) > 1:
        seeds = list(statistic.values.values())
        axis.scatter(
            seeds, [position + 0.27] * len(seeds), s=9, color="white", edgecolor=colour, linewidth=0.9, zorder=3
        )
    edge, width = (BEST, 2.0) if best else (colour, 0.5)
    axis.scatter(statistic.mean, position, s=40, marker="D", color=colour, edgecolor=edge, linewidth=width, zorder=4)
    weight = "bold" if best else "normal"
    axis.annotate(
        f"{statistic.mean:.{decimals}f}", (1.0, position), xytext=(3, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", fontsize=7.5, fontweight=weight, color=BEST if best else "#444444",
    )  # fmt: skip


def _legend_of(section: Section) -> str:
    seeds = any(len(row.runs) > 1 for row in section.rows)
    alone = any(len(row.runs) == 1 for row in section.rows)
    parts = ["◆ mean (outlined in red: the best)" if len(section.rows) > 1 else "◆ value"]
    parts += ["○ one seed", "bar: ± standard deviation over seeds"] if seeds else []
    parts += [f"bar{' of one seed' if seeds else ''}: ± standard error over documents"] if alone else []
    parts += ["dotted: random"] if section.random is not None else []
    return "   ".join(parts)


def _mixtures(section: Section) -> dict[str, dict[str, float]]:
    """Bar -> source -> share in percent; the pool first."""
    bars: dict[str, dict[str, float]] = {}
    for row in section.rows:
        counts = [run.selection for run in row.runs if run.selection is not None]
        if not counts:
            continue
        bars.setdefault("pool", _mean_shares([counts[0]["sources_pool"]]))
        bars[row.name] = _mean_shares([selection["sources_subset"] for selection in counts])
    return bars


def _mean_shares(mixtures: Sequence[Mapping[str, int]]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for mixture in mixtures:
        total = sum(mixture.values())
        for source, count in mixture.items():
            shares[source] = shares.get(source, 0.0) + 100 * count / total / len(mixtures)
    return shares


def _main_sources(bars: Sequence[Mapping[str, float]]) -> list[str]:
    """The sources that are largest in any bar, in order of their share of the pool."""
    largest = {source: max(bar.get(source, 0.0) for bar in bars) for bar in bars for source in bar}
    kept = sorted(largest, key=lambda source: (-largest[source], source))[: len(AREAS)]
    return sorted(kept, key=lambda source: (-bars[0].get(source, 0.0), source))


def _grouped(shares: Mapping[str, float], sources: Sequence[str]) -> dict[str, float]:
    kept = {source: shares.get(source, 0.0) for source in sources}
    return kept | {OTHER: sum(share for source, share in shares.items() if source not in kept)}


def _stack(
    axis: Axes, position: int, shares: Mapping[str, float], shown: Sequence[str], colours: Mapping[str, str]
) -> None:
    start = 0.0
    for source in shown:
        share, colour = shares[source], colours[source]
        axis.barh(
            position, share, left=start, height=0.68, color=colour, edgecolor="white", linewidth=0.8, label=source
        )
        if share >= 6:
            ink = "white" if _is_dark(colour) else "black"
            axis.text(start + share / 2, position, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=8)
        start += share


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 130


def _curves(row: Row) -> list[dict[int, float]]:
    logs = [(run.training or {}).get("log", []) for run in row.runs]
    curves = [{int(entry["step"]): float(entry["loss"]) for entry in log if "loss" in entry} for log in logs]
    return curves if all(len(curve) > 1 for curve in curves) else []


def _figure(width: float, height: float, rows_legend: int = 0) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, max(height, 0.9 + 0.24 * rows_legend)), layout="constrained", dpi=DPI)


def _titled(figure: Figure, title: str, caption: str) -> Figure:
    figure.suptitle(title, fontsize=11, fontweight="bold")
    if caption:
        figure.supxlabel(caption, fontsize=8, color="#444444")
    return figure


def _legend(axis: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    axis.legend(handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8.5)


def _bare(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _cut(text: str, length: int = 34) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
