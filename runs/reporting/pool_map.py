"""The pool on a map, and where on it each method picks: small multiples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.figures import colour_of, new_figure
from siftune.runs.reporting.plots import REST
from siftune.runs.reporting.rows import wrapped
from siftune.runs.reporting.subsets import PickedSection, PoolFeatures
from siftune.runs.rounds.pool_map import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAP_ROWS = 1600
"""Rows on a map: t-SNE of as many takes some seconds."""
PICKS_SHARE = 0.6
"""At most so much of them are drawn from the subsets; the others stand for the pool."""
ACROSS = 4
NAME_WIDTH = 34


class PoolMap:
    """A pool's rows in two dimensions, the same places for all of its sections."""

    def __init__(self, pool: PoolFeatures, picked: Sequence[np.ndarray]) -> None:
        """`picked`: the subsets that are to be shown."""
        assert pool.embeddings is not None
        self.encoder, embeddings = pool.embeddings
        self.size = len(pool)
        self.rows = mapped_rows(len(pool), picked)
        self.places = layout(np.asarray(embeddings[self.rows]))

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The places (m, 2) of those of these rows that are on the map."""
        places: np.ndarray = self.places[np.isin(self.rows, rows)]
        return places


def mapped_rows(size: int, picked: Sequence[np.ndarray]) -> np.ndarray:
    """(m,) int64 ascending rows to be shown: all, or an equal draw from each subset and the rest from the pool (always
    the same)."""
    if size <= MAP_ROWS:
        return np.arange(size)
    rng = np.random.default_rng(0)
    most = max(1, int(MAP_ROWS * PICKS_SHARE) // max(1, len(picked)))
    drawn = [rows if len(rows) <= most else rng.choice(rows, most, replace=False) for rows in picked]
    chosen = np.unique(np.concatenate(drawn))
    others = np.setdiff1d(np.arange(size), chosen)
    return np.union1d(chosen, rng.choice(others, max(0, MAP_ROWS - len(chosen)), replace=False, shuffle=False))


def map_figure(section: PickedSection, places: PoolMap) -> Figure:
    """A panel a method: the pool in grey, the picks of its first seed in colour."""
    across = min(ACROSS, len(section.methods))
    down = math.ceil(len(section.methods) / across)
    figure = new_figure(2.9 * across, 3.0 * down + 0.5, section.title)
    axes = figure.subplots(down, across, squeeze=False)
    for position, axis in enumerate(axes.flat):
        if position >= len(section.methods):
            axis.set_visible(False)
            continue
        picks = section.methods[position]
        axis.scatter(*places.places.T, s=3, color=REST, linewidth=0)
        axis.scatter(*places.of(picks.first).T, s=7, color=colour_of(picks.name), linewidth=0)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color(REST)
        axis.set_title(wrapped(picks.name, NAME_WIDTH), fontsize=9)
        axis.patch.set_alpha(0)
    return figure


def map_caption(section: PickedSection, places: PoolMap) -> str:
    """What the map is of."""
    shown = "all" if len(places.rows) == places.size else f"{len(places.rows):,} of"
    sampled = "" if len(places.rows) == places.size else ", drawn at random from the pool and from each subset"
    return (
        f"The pool (grey) and each method's picks of its first seed: t-SNE of the embeddings by {places.encoder}, "
        f"{shown} {places.size:,} rows{sampled}. Near rows are alike; how far apart others are says little."
    )
