"""What the methods cost: score against FLOPs and seconds of selection and training, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from siftune.runs.reporting.content import Part, Picture, Table
from siftune.runs.reporting.cost_table import costs_table, stage_seconds
from siftune.runs.reporting.families import Family, FamilyRow, families
from siftune.runs.reporting.figures import colour_of, new_figure
from siftune.runs.reporting.labels import Named, freeze, name_points
from siftune.runs.reporting.plots import BASE, BEST, LINES
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import RANDOM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 10
"""Where the largest cost is so many times the smallest, the axis is logarithmic."""
PAID = ("selection", "training")
"""What is paid for a model; evaluating it is not part of its price."""
AXES = {"flops": "FLOPs of selection and training", "seconds": "seconds of selection and training"}


@dataclass(frozen=True)
class Priced:
    """A method under one budget, with what it cost (means over seeds)."""

    item: FamilyRow
    costs: dict[str, float]
    """flops, seconds: as far as they are known."""

    @property
    def name(self) -> str:
        """The method."""
        return self.item.row.name


def cost_part(runs: Sequence[RunRecord]) -> Part | None:
    """Score against cost, and a table of costs, for every model, pool and suite; None where nothing was trained."""
    pictures: list[Picture] = []
    tables: list[Table] = []
    for family in families(runs):
        priced = [Priced(item, _costs(item)) for item in family.rows]
        suffix = "" if not tables else f"-{len(tables) + 1}"
        if any(item.costs for item in priced):
            figure = cost_figure(family, priced)
            pictures.append(Picture(name=f"cost{suffix}", figure=figure, caption=_caption(family, priced)))
        tables.append(costs_table(family, f"costs{suffix}"))
    if not tables:
        return None
    text = (
        "Costs are means over seeds and count everything that a result needed, also what was found in the store and "
        "cost this run nothing. FLOPs are those of models; clustering and similarities on the CPU are in the seconds "
        "alone.",
    )
    return Part(name="cost", title="What it cost", text=text, tables=tables, pictures=pictures)


def pareto_front(points: Sequence[tuple[float, float]], higher_is_better: bool) -> list[int]:
    """Positions of the (cost, score) points that no other one beats in one of the two and equals in the other."""
    sign = 1.0 if higher_is_better else -1.0

    def beaten(cost: float, value: float) -> bool:
        return any(
            other <= cost and sign * theirs >= sign * value and (other, theirs) != (cost, value)
            for other, theirs in points
        )

    front = [position for position, point in enumerate(points) if not beaten(*point)]
    return sorted(front, key=lambda position: points[position])


def cost_figure(family: Family, priced: Sequence[Priced]) -> Figure:
    """A panel a kind of cost; methods are named beside their points, those of the largest budget where there are
    several, which are joined by a line."""
    kinds = [kind for kind in AXES if any(kind in item.costs for item in priced)]
    figure = new_figure(6.0 * len(kinds) + 0.4, 4.8, family.title)
    axes = list(figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0])
    for axis, kind in zip(axes, kinds, strict=True):
        _panel(axis, family, [item for item in priced if kind in item.costs], kind)
    better = "higher" if family.column.higher_is_better else "LOWER"
    axes[0].set_ylabel(f"{family.column.name} ({family.column.metric}), {better} is better", fontsize=9)
    freeze(figure)
    for axis, kind in zip(axes, kinds, strict=True):
        own = [item for item in priced if kind in item.costs]
        last = {item.name: item for item in own}
        named = [Named(i.costs[kind], i.item.score.mean, i.name, _colour(i, own)) for i in last.values()]
        name_points(axis, named, _lines(own, kind))
    return figure


def _lines(priced: Sequence[Priced], kind: str) -> list[list[tuple[float, float]]]:
    """What is drawn of methods: their lines over budgets, and error bars."""
    lines = []
    for name in dict.fromkeys(item.name for item in priced):
        lines.append([(item.costs[kind], item.item.score.mean) for item in priced if item.name == name])
    for item in priced:
        mean, spread = item.item.score.mean, item.item.score.spread
        if spread is not None:
            lines.append([(item.costs[kind], mean - spread), (item.costs[kind], mean + spread)])
    return lines


def _panel(axis: Axes, family: Family, priced: Sequence[Priced], kind: str) -> None:
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

    costs = [item.costs[kind] for item in priced]
    points = [(item.costs[kind], item.item.score.mean) for item in priced]
    front = pareto_front(points, bool(family.column.higher_is_better))
    axis.plot(
        *zip(*[points[position] for position in front], strict=True), color=BEST, linewidth=6, alpha=0.2, zorder=1
    )
    if family.base is not None:
        axis.axhline(family.base.mean, color=BASE, linestyle="--", linewidth=1)
        axis.annotate(
            "base", (0.0, family.base.mean), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", fontsize=8, color=BASE,
        )  # fmt: skip
    for name in dict.fromkeys(item.name for item in priced):
        own = [(item, point) for item, point in zip(priced, points, strict=True) if item.name == name]
        colour = _colour(own[0][0], priced)
        if len(own) > 1:
            axis.plot(*zip(*(point for _, point in own), strict=True), color=colour, linewidth=1, zorder=2)
        for item, (cost, score) in own:
            spread = item.item.score.spread
            if spread is not None:
                axis.errorbar(cost, score, yerr=spread, color=colour, capsize=3, elinewidth=1, zorder=2)
            edge = BEST if priced.index(item) in front else colour
            axis.scatter(cost, score, s=36, marker="D", color=colour, edgecolor=edge, linewidth=1.8, zorder=3)
    if min(costs) > 0 and max(costs) > WIDE * min(costs):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(min(costs) / 1.3, 1.5 * max(costs))
    else:
        axis.set_xlim(0, 1.15 * max(costs))
    axis.margins(y=0.12)
    axis.xaxis.set_major_formatter(EngFormatter(sep="") if kind == "flops" else StrMethodFormatter("{x:,.0f}"))
    axis.set_xlabel(AXES[kind], fontsize=9)
    axis.grid(color="#999999", alpha=0.3, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.patch.set_alpha(0)


def _colour(priced: Priced, all_priced: Sequence[Priced]) -> str:
    """By method where lines join several budgets; else as in the plot of scores."""
    names = list(dict.fromkeys(item.name for item in all_priced))
    if len(all_priced) == len(names) or priced.item.row.label == RANDOM:
        return colour_of(priced.name)
    colours = [colour for colour in LINES if colour not in (BEST, colour_of(RANDOM))]
    return colours[names.index(priced.name) % len(colours)]


def _caption(family: Family, priced: Sequence[Priced]) -> str:
    joined = ", one line a method over its budgets" if len(family.budgets) > 1 else ""
    parts = [
        f"{family.column.name} against what selection and training cost, {family.title}{joined}. Outlined and "
        "underlaid in red: the Pareto front, which no other method beats in score without costing more. "
        "Bars: standard deviation over seeds, of one seed the standard error over documents."
    ]
    known = [item for item in priced if "flops" in item.costs]
    unknown = dict.fromkeys(item.name for item in priced if "flops" not in item.costs)
    if known and unknown:
        parts.append(f"FLOPs are not known of {', '.join(unknown)}.")
    if not known:
        parts.append("FLOPs are not known of these runs.")
    return " ".join(parts)


def _costs(item: FamilyRow) -> dict[str, float]:
    found = {kind: item.row.spent(kind, *PAID) for kind in AXES}
    if not any(run.cost for run in item.row.runs):
        seconds = [known for run in item.row.runs if (known := stage_seconds(run)) is not None]
        found["seconds"] = fmean(seconds) if len(seconds) == len(item.row.runs) else None
    return {kind: value for kind, value in found.items() if value}
