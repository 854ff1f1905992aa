"""Curves: score against the budget, and against whatever one setting an ablation varies, the paper's beside ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from siftune.runs.reporting.content import Part, Picture
from siftune.runs.reporting.families import Family, FamilyRow, families
from siftune.runs.reporting.figures import new_figure
from siftune.runs.reporting.plots import BASE, BASELINE, DASHES, LINES
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import RANDOM, Statistic
from siftune.runs.reporting.variants import leaves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from siftune.runs.reproduction.comparison import PaperComparison

BUDGET = "budget.amount"
WIDE = 8
"""Where the largest value is so many times the smallest, the axis is logarithmic."""
NAMED = 12
"""So many values are the ticks of their axis."""
PAPER = "#999999"


@dataclass(frozen=True)
class Curve:
    """A method's scores over one setting, everything else the same."""

    name: str
    points: Mapping[float, Statistic]
    """Value of the setting -> score, ascending."""
    is_random: bool


@dataclass(frozen=True)
class Panel:
    """All curves of a family over one setting."""

    family: Family
    key: str
    """Path of the setting in a run's config."""
    curves: tuple[Curve, ...]

    @property
    def unit(self) -> str:
        """What the setting counts."""
        return next((row.amount[0] for row in self.family.rows), "") if self.key == BUDGET else ""


def curves_part(runs: Sequence[RunRecord], comparison: PaperComparison | None = None) -> Part | None:
    """A picture for every setting that varies within a method; None where none does."""
    found = [panel for family in families(runs) for panel in panels_of(family)]
    if not found:
        return None
    pictures: list[Picture] = []
    for panel in sorted(found, key=lambda panel: panel.key != BUDGET):
        kind = "budget" if panel.key == BUDGET else "ablation"
        number = 1 + sum(picture.name.startswith(f"{kind}-curves") for picture in pictures)
        printed = printed_curves(panel, comparison)
        pictures.append(
            Picture(
                name=f"{kind}-curves" if number == 1 else f"{kind}-curves-{number}",
                figure=curves_figure(panel, printed),
                caption=_caption(panel, bool(printed)),
            )
        )
    return Part(name="curves", title="Budgets and ablations", pictures=pictures)


def panels_of(family: Family) -> list[Panel]:
    """The settings that are a number and vary while all else of a method stays the same, with their curves."""
    found: dict[str, list[Curve]] = {}
    methods = dict.fromkeys(_stem(item) for item in family.rows)
    for method in methods:
        rows = [item for item in family.rows if _stem(item) == method]
        settings = [leaves(item.row.runs[0]) for item in rows]
        paths = sorted({path for setting in settings for path in setting})
        differing = [path for path in paths if len({setting.get(path) for setting in settings}) > 1]
        for key in differing:
            found.setdefault(key, []).extend(_curves(method, rows, settings, differing, key))
    return [
        Panel(family, key, _named(curves))
        for key, curves in found.items()
        if any(len(curve.points) > 1 for curve in curves)
    ]


def _curves(
    method: str, rows: Sequence[FamilyRow], settings: Sequence[Mapping[str, str]], differing: Sequence[str], key: str
) -> list[Curve]:
    """One for every combination of the other settings that two values of this one share."""
    groups: dict[tuple[tuple[str, str | None], ...], dict[float, Statistic]] = {}
    for item, setting in zip(rows, settings, strict=True):
        value = json.loads(setting.get(key, "null"))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            others = tuple((path, setting.get(path)) for path in differing if path != key)
            groups.setdefault(others, {})[float(value)] = item.score
    return [
        Curve(_spelled(method, others), dict(sorted(points.items())), method == RANDOM)
        for others, points in groups.items()
        if len(points) > 1
    ]


def printed_curves(panel: Panel, comparison: PaperComparison | None) -> dict[str, list[tuple[float, float]]]:
    """The paper's curves over this setting, by name; none where the paper has no such axis."""
    if comparison is None:
        return {}
    found = comparison.printed(panel.key)
    numbers = {
        name: sorted((float(value), score) for value, score in points if _is_number(value))
        for name, points in found.items()
    }
    return {name or "paper": points for name, points in numbers.items() if len(points) > 1}


def curves_figure(panel: Panel, printed: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Means with standard deviations over seeds; the paper's curves below, on a scale of their own.

    Scores of another model, pool and size share no scale with ours, and often not even the values of the setting."""
    figure = new_figure(9.0, 4.4 + 2.6 * bool(printed), panel.family.title)
    ratios = [1.7, 1][: 1 + bool(printed)]
    axes = list(figure.subplots(len(ratios), 1, squeeze=False, sharex=True, height_ratios=ratios)[:, 0])
    _ours(axes[0], panel)
    if printed:
        _papers(axes[1], printed)
    theirs = {value for points in printed.values() for value, _ in points}
    _scale(axes[-1], sorted({value for curve in panel.curves for value in curve.points} | theirs))
    axes[-1].set_xlabel(f"{panel.key}{f' ({panel.unit})' if panel.unit else ''}", fontsize=9)
    return figure


def _ours(axis: Axes, panel: Panel) -> None:
    family = panel.family
    if family.base is not None:
        axis.axhline(family.base.mean, color=BASE, linestyle="--", linewidth=1, label="base")
    random = [item for item in family.rows if item.row.label == RANDOM]
    if len(random) == 1 and not any(curve.is_random for curve in panel.curves):
        axis.axhline(random[0].score.mean, color=BASELINE, linestyle=":", linewidth=1.4, label=random[0].row.name)
    colours = [colour for colour in LINES if colour != BASELINE]
    for position, curve in enumerate(panel.curves):
        colour = BASELINE if curve.is_random else colours[position % len(colours)]
        dash = DASHES[position // len(colours) % len(DASHES)]
        means = [statistic.mean for statistic in curve.points.values()]
        spreads = [statistic.spread or 0.0 for statistic in curve.points.values()]
        axis.errorbar(
            list(curve.points), means, yerr=spreads, color=colour, linestyle=dash, marker="D", markersize=5,
            capsize=3, elinewidth=1, linewidth=1.6, label=curve.name,
        )  # fmt: skip
    better = "higher" if family.column.higher_is_better else "LOWER"
    axis.set_ylabel(f"{family.column.name} ({family.column.metric})\n{better} is better", fontsize=9)
    _legend(axis)


def _papers(axis: Axes, printed: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    for number, (name, points) in enumerate(printed.items()):
        dash = DASHES[number % len(DASHES)]
        label = name if name == "paper" else f"paper: {name}"
        axis.plot(*zip(*points, strict=True), color=PAPER, linestyle=dash, marker="o", markersize=4, label=label)
    axis.set_ylabel("the paper's,\non its own scale", fontsize=9)
    _legend(axis)


def _scale(axis: Axes, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    if values[0] > 0 and values[-1] > WIDE * values[0]:
        axis.set_xscale("log")
    if len(values) <= NAMED:
        axis.xaxis.set_major_locator(FixedLocator(values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}" if values[-1] < 1e6 else "{x:.2g}"))
    axis.margins(x=0.06, y=0.1)


def _legend(axis: Axes) -> None:
    axis.grid(color="#999999", alpha=0.3, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.patch.set_alpha(0)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=8.5)


def _caption(panel: Panel, printed: bool) -> str:
    bars = "bars: standard deviation over seeds, of one seed the standard error over documents"
    paper = "; below, the paper's own curve over the same setting, on its own scale" if printed else ""
    return f"{panel.family.column.name} against {panel.key}, all else the same, {panel.family.title} ({bars}){paper}."


def _stem(item: FamilyRow) -> str:
    """The method without the settings that its label shows."""
    return item.row.label.split("(")[0]


def _spelled(method: str, others: Sequence[tuple[str, str | None]]) -> str:
    if len(others) > 3:
        return method
    settings = [f"{path.split('.')[-1]}={_plain(value)}" for path, value in others]
    return f"{method} ({', '.join(settings)})" if settings else method


def _plain(value: str | None) -> str:
    found = json.loads(value or "null")
    return f"{found:g}" if isinstance(found, float) else "none" if found is None else str(found)


def _named(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    """Curves whose names say too little are numbered."""
    named, seen = [], dict[str, int]()
    for curve in curves:
        seen[curve.name] = seen.get(curve.name, 0) + 1
        named.append(curve if seen[curve.name] == 1 else replace(curve, name=f"{curve.name} #{seen[curve.name]}"))
    return tuple(named)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
