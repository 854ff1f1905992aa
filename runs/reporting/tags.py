"""The tags of a pool's rows beside those of each subset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from siftune.runs.reporting.figures import new_figure
from siftune.runs.reporting.plots import LABEL_WIDTH
from siftune.runs.reporting.rows import wrapped
from siftune.runs.reporting.subsets import PickedSection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAGS = 14
"""So many are shown, those that most rows of the pool have."""


@dataclass(frozen=True)
class TagShares:
    """How many of the rows have a tag."""

    names: tuple[str, ...]
    """The tags that most rows of the pool have."""
    pool: np.ndarray
    """(t,) shares of the pool's rows, 0 to 1."""
    subsets: Mapping[str, np.ndarray]
    """Method -> (t,) shares of its picks, the mean over the seeds."""
    distinct: Mapping[str, float]
    """Method -> different tags of a subset, the mean over the seeds."""
    total: int
    """Different tags of the pool."""


def tag_shares(section: PickedSection) -> TagShares | None:
    """The pool's most frequent tags in each subset; None where the store has no tags."""
    if section.pool.tags is None:
        return None
    matrix, names = section.pool.tags
    rows_of_tag = np.asarray(matrix.sum(axis=0)).ravel()
    top = np.argsort(-rows_of_tag, kind="stable")[:TAGS]
    counts = {
        picks.name: [np.asarray(matrix[rows].sum(axis=0)).ravel() for rows in picks.rows.values()]
        for picks in section.methods
    }
    sizes = {picks.name: len(picks.first) for picks in section.methods}
    return TagShares(
        names=tuple(names[tag] for tag in top),
        pool=rows_of_tag[top] / len(section.pool),
        subsets={name: np.mean(found, axis=0)[top] / sizes[name] for name, found in counts.items()},
        distinct={name: float(np.mean([(own > 0).sum() for own in found])) for name, found in counts.items()},
        total=len(names),
    )


def tags_figure(section: PickedSection, shares: TagShares) -> Figure:
    """A heat map: how many times its share of the pool a tag has in a subset; in numbers, the percentage of rows."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    names = ["pool", *(wrapped(name, LABEL_WIDTH) for name in shares.subsets)]
    values = np.array([shares.pool, *shares.subsets.values()])
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.clip(values / shares.pool, 0.25, 4)
    figure = new_figure(3.4 + 0.62 * len(shares.names), 2.1 + 0.36 * len(names), section.title)
    axis = figure.subplots()
    image = axis.imshow(times, cmap=colormaps["RdBu"], norm=LogNorm(0.25, 4), aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "white" if not 0.35 < times[row, column] < 2.8 else "black"
        axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axis.set_xticks(
        range(len(shares.names)), [_cut(name) for name in shares.names],
        rotation=40, ha="right", rotation_mode="anchor", fontsize=8,
    )  # fmt: skip
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, pad=0.01)
    bar.set_ticks([0.25, 0.5, 1, 2, 4], labels=["≤ ¼", "½", "1", "2", "≥ 4"])
    bar.minorticks_off()
    bar.set_label("times the pool's share", fontsize=8)
    return figure


def _cut(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
