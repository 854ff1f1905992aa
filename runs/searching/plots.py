"""The pictures of a search (matplotlib, drawn without a display)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from siftune.runs.reporting.plots import BASE, BASELINE, BEST, DPI, METHOD
from siftune.runs.searching.space import Value, written
from siftune.runs.searching.state import Search, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPLETE, PRUNED = METHOD, BASELINE
ACROSS = 3


def history_figure(search: Search) -> Figure | None:
    """Each trial's values, one at every budget, and the best value so far; None where there is no value."""
    from matplotlib.ticker import MaxNLocator

    trials = [trial for trial in search.trials if trial.rungs]
    if not trials:
        return None
    figure = _figure(max(7.0, 2.5 + 0.28 * len(search.trials)), 3.8)
    axis = figure.subplots()
    budgets = sorted({rung.budget for trial in trials for rung in trial.rungs})
    for trial in trials:
        xs, values = [trial.number] * len(trial.rungs), [rung.value for rung in trial.rungs]
        axis.plot(xs, values, color="#BBBBBB", linewidth=1, zorder=1)
        for x, rung in zip(xs, trial.rungs, strict=True):
            size = 18 + 42 * (budgets.index(rung.budget) + 1) / len(budgets)
            axis.scatter([x], [rung.value], s=size, color=_colour(trial), zorder=2)
    _mark_failed(axis, search)
    _best_so_far(axis, search)
    for name, colour in {"complete": COMPLETE, "pruned": PRUNED, "not done": BASE}.items():
        if any(_colour(trial) == colour for trial in trials):
            axis.scatter([], [], s=40, color=colour, label=name)
    axis.set_xlabel("trial")
    axis.set_ylabel(f"{search.objective} {_arrow(search)}")
    axis.set_xlim(-0.6, len(search.trials) - 0.4)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    shown = ", ".join(f"{budget:g}" for budget in budgets)
    axis.set_title(
        f"Trials of {search.name}; larger dots: larger budgets ({shown})" if len(budgets) > 1 else search.name
    )
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def parameters_figure(search: Search) -> Figure | None:
    """A panel a parameter: the value at the last budget that each trial came to; None where there is no value."""
    trials = [trial for trial in search.trials if trial.rungs]
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    if not keys:
        return None
    across = min(ACROSS, len(keys))
    down = math.ceil(len(keys) / across)
    figure = _figure(max(5.0, 3.3 * across), 3.0 * down + 0.5)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for position, axis in enumerate(axes.flat):
        if position < len(keys):
            _panel(axis, search, trials, keys[position])
        else:
            axis.set_visible(False)
    for row in axes:
        row[0].set_ylabel(f"{search.objective} {_arrow(search)}")
    for name, colour in {"complete": COMPLETE, "pruned": PRUNED, "best": BEST}.items():
        axes[0][0].scatter([], [], color=colour, label=f"{name} (at its last budget)" if name == "pruned" else name)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(axis: Axes, search: Search, trials: Sequence[Trial], key: str) -> None:
    having = [trial for trial in trials if key in trial.params]
    values = [trial.params[key] for trial in having]
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    chosen = any(line.startswith(f"{key}=choice(") for line in search.space)
    if not chosen:
        xs = numbers
        if any(line.startswith(f"{key}=tag(log") for line in search.space):
            axis.set_xscale("log")
    else:
        different = sorted(set(numbers)) if len(numbers) == len(values) else values
        names = list(dict.fromkeys(map(_name, different)))
        xs = [float(names.index(_name(value))) for value in values]
        axis.set_xticks(range(len(names)), names, rotation=20 if max(map(len, names)) > 9 else 0)
        axis.set_xlim(-0.5, len(names) - 0.5)
    best = search.best
    for x, trial in zip(xs, having, strict=True):
        axis.scatter([x], [trial.rungs[-1].value], color=BEST if trial is best else _colour(trial), s=36, zorder=2)
    axis.set_title(key, fontsize=10)


def _mark_failed(axis: Axes, search: Search) -> None:
    failed = [trial.number for trial in search.trials if trial.state == "failed"]
    if failed:
        bottom = axis.get_ylim()[0]
        axis.scatter(failed, [bottom] * len(failed), marker="x", color="black", label="failed", clip_on=False)


def _best_so_far(axis: Axes, search: Search) -> None:
    pick = min if search.direction == "minimize" else max
    xs: list[int] = []
    line: list[float] = []
    for trial in search.trials:
        if trial.state == "complete" and trial.value is not None:
            xs.append(trial.number)
            line.append(pick([trial.value, *line[-1:]]))
    if xs:
        end = len(search.trials) - 1
        axis.step([*xs, end], [*line, line[-1]], where="post", color=BEST, linewidth=1.4, label="best so far")


def _colour(trial: Trial) -> str:
    return {"complete": COMPLETE, "pruned": PRUNED}.get(trial.state, BASE)


def _arrow(search: Search) -> str:
    return "↓" if search.direction == "minimize" else "↑"


def _name(value: Value) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}"
    return written(value).strip("'\"")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")
