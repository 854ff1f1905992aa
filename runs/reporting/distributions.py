"""Length, turns and scores of a pool beside those of each subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.figures import colour_of, new_figure
from siftune.runs.reporting.plots import LABEL_WIDTH, REST
from siftune.runs.reporting.rows import decimals_for, wrapped
from siftune.runs.reporting.subsets import PickedSection, Picks, PoolFeatures
from siftune.selection.pool.words import turns, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLE = 4000
"""Rows of a pool whose texts are read."""
SUBSET_SAMPLE = 1000
"""Rows of a method's subsets whose texts are read."""
SCORES = 4
LENGTHS = ("words", "characters")
"""Scores that say what the first feature says."""
BINS = 30
"""At most; with few rows fewer."""
WIDE = 8
"""Where the largest value is so many times the median, the axis is logarithmic."""
COUNTS = 12
"""So many different whole numbers are shown one by one."""


@dataclass(frozen=True)
class Feature:
    """A number of every row that was looked at."""

    name: str
    pool: np.ndarray
    """(p,) values of the pool's rows."""
    subsets: Mapping[str, np.ndarray]
    """Method -> (k,) values of its picks, all seeds."""


def features_of(section: PickedSection) -> list[Feature]:
    """Length and turns, of rows drawn at random where there are many, and the scores that the store has."""
    pool = section.pool
    rows = _drawn(np.arange(len(pool)), SAMPLE)
    picked = {picks.name: picks.all for picks in section.methods}
    read = {name: _drawn(found, SUBSET_SAMPLE) for name, found in picked.items()}
    texts = _TextNumbers(pool, np.unique(np.concatenate([rows, *read.values()])))
    found = []
    if pool.num_tokens is not None:
        found.append(_feature("tokens", np.asarray(pool.num_tokens), picked))
    else:
        found.append(Feature("words", texts.words(rows), {name: texts.words(some) for name, some in read.items()}))
    found.append(Feature("user turns", texts.turns(rows), {name: texts.turns(some) for name, some in read.items()}))
    shown = [(name, values) for name, values in pool.scores.items() if name not in LENGTHS][:SCORES]
    found += [_feature(name, values, picked) for name, values in shown if np.isfinite(values).any()]
    return found


class _TextNumbers:
    """Words and turns of some rows, each read once."""

    def __init__(self, pool: PoolFeatures, rows: np.ndarray) -> None:
        """`rows`: (m,) int64 ascending."""
        self._rows = rows
        part = pool.pool.part(rows)
        conversations = part.conversations(0, len(part))
        self._words = np.array(
            [sum(len(words(text)) for text in turns(item, "conversation")) for item in conversations]
        )
        self._turns = np.array([sum(message["role"] == "user" for message in item) for item in conversations])

    def words(self, rows: np.ndarray) -> np.ndarray:
        """Of these rows, which are among those read."""
        found: np.ndarray = self._words[np.searchsorted(self._rows, rows)]
        return found

    def turns(self, rows: np.ndarray) -> np.ndarray:
        """Of these rows, which are among those read."""
        found: np.ndarray = self._turns[np.searchsorted(self._rows, rows)]
        return found


def distributions_figure(section: PickedSection, features: Sequence[Feature]) -> Figure:
    """A row of panels a method, a column a feature: the pool a grey area, the picks a line, medians as numbers."""
    names = [wrapped(picks.name, LABEL_WIDTH) for picks in section.methods]
    left = 0.3 + 0.085 * max(len(line) for name in names for line in name.split("\n"))
    figure = new_figure(left + 2.3 * len(features), 0.72 * len(names) + 1.3, section.title)
    axes = figure.subplots(len(names), len(features), squeeze=False, sharex="col")
    for column, feature in enumerate(features):
        # Twice the cube root (the rule of Rice university) of the smallest subset's rows, so that few rows are no comb.
        rows = min(len(values) for values in feature.subsets.values())
        most = int(min(BINS, max(8, 2 * rows ** (1 / 3))))
        edges = bins(np.concatenate([feature.pool, *feature.subsets.values()]), most)
        for row, picks in enumerate(section.methods):
            _panel(axes[row][column], feature, picks, edges)
        middle = _median(feature.pool)
        axes[0][column].set_title(f"{feature.name}\npool: median {middle}", fontsize=9)
    for row, name in enumerate(names):
        axes[row][0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8.5)
    return figure


def bins(values: np.ndarray, most: int = BINS) -> np.ndarray:
    """Edges for a histogram: one a whole number where there are few, logarithmic where the values are wide."""
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values)
    if len(distinct) <= COUNTS and (distinct == distinct.round()).all():
        return np.arange(low - 0.5, high + 1.0)
    if low > 0 and high > WIDE * float(np.median(values)):
        return np.geomspace(low, high, most + 1)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    return np.linspace(low, high, most + 1)


def is_logarithmic(edges: np.ndarray) -> bool:
    """Whether `bins` made them so."""
    steps = np.diff(edges)
    return bool(len(steps) > 1 and steps[-1] > 1.5 * steps[0])


def _panel(axis: Axes, feature: Feature, picks: Picks, edges: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    own = feature.subsets[picks.name]
    colour = colour_of(picks.name)
    axis.stairs(_shares(feature.pool, edges), edges, fill=True, color=REST)
    axis.stairs(_shares(own, edges), edges, color=colour, linewidth=1.3)
    axis.text(0.98, 0.92, _median(own), transform=axis.transAxes, ha="right", va="top", fontsize=8, color=colour)
    if is_logarithmic(edges):
        axis.set_xscale("log")
    elif edges[1] - edges[0] == 1.0:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_yticks([])
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.patch.set_alpha(0)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    shares: np.ndarray = counts / max(1, counts.sum())
    return shares


def _median(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "none"
    middle = float(np.median(values))
    return f"{middle:,.0f}" if middle == round(middle) else f"{middle:,.{decimals_for([middle])}f}"


def _feature(name: str, values: np.ndarray, picked: Mapping[str, np.ndarray]) -> Feature:
    """Of values that are known of every row of the pool."""
    return Feature(name, values, {method: values[own] for method, own in picked.items()})


def _drawn(rows: np.ndarray, most: int) -> np.ndarray:
    """All of the rows, or so many of them drawn at random, always the same."""
    if len(rows) <= most:
        return rows
    drawn: np.ndarray = np.random.default_rng(0).choice(rows, most, replace=False, shuffle=False)
    return drawn
