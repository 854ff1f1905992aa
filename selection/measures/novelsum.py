"""NovelSum (Yang et al. 2025, arXiv 2502.17184)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from siftune.selection.kernels.neighbours import density_of, mean_distances, means_of
from siftune.selection.kernels.rank_sums import rank_weighted_means
from siftune.selection.kernels.vectors import matrix
from siftune.selection.measures.blocks import ReferenceRows

_ROWS_AT_ONCE = 65_536


class NovelSumSetting(NamedTuple):
    """Hyperparameters of NovelSum."""

    neighbors: int
    """Nearest rows of the reference that a density is taken over."""
    density_power: float
    """beta: the density is 1 / (mean squared distance to them + 1e-9)^beta."""
    distance_power: float
    """alpha: the r-th nearest row of the set weighs 1 / r^alpha."""


def novelsum(
    embeddings: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    neighbors: int = 10,
    density_power: float = 0.5,
    distance_power: float = 1.0,
    include_self: bool = True,
    drop_first_neighbor: bool = False,
) -> float:
    """NovelSum of a set of (n, d) embeddings (Yang et al. 2025, arXiv 2502.17184): larger is more diverse.

    The mean over its rows x of density(x) times the mean of the cosine distances of x to all rows of the set,
    ascending, the r-th weighted by 1 / r^distance_power. The density, 1 / (m + 1e-9)^density_power with m the mean
    squared L2 distance of x to its nearest distinct rows in the (r, d) `reference` (the set itself where there is
    none), says how much of the pool the row stands for. Embeddings are as the encoder gave them; any float type,
    memory-mapped or not.

    `include_self` counts the row itself, at distance 0 and rank 1 (as the authors do). A row's nearest neighbour is not
    in its density where that is the row itself; `drop_first_neighbor` leaves it out always, as the authors' code
    does. Where the reference has fewer rows than neighbours, m is over those it has; where it has none, the density is
    1.

    Time: O(n (n + r) d) in matrix products and O(n^2 log n) to sort; memory: the set's vectors in float32 and a block
    of the reference's, never n x n.
    """
    setting = NovelSumSetting(neighbors, density_power, distance_power)
    figures = novelsum_grid(
        embeddings,
        reference,
        neighbors=[neighbors],
        density_powers=[density_power],
        distance_powers=[distance_power],
        include_self=include_self,
        drop_first_neighbor=drop_first_neighbor,
    )
    return figures[setting]


def novelsum_grid(
    embeddings: np.ndarray,
    reference: np.ndarray | ReferenceRows | None = None,
    *,
    neighbors: Sequence[int] = (5, 10),
    density_powers: Sequence[float] = (0.0, 0.25, 0.5),
    distance_powers: Sequence[float] = (0.0, 1.0, 2.0),
    include_self: bool = True,
    drop_first_neighbor: bool = False,
    rows_at_once: int = _ROWS_AT_ONCE,
) -> dict[NovelSumSetting, float]:
    """NovelSum by every combination of hyperparameters (by default the authors' 18), at about the cost of one.

    The density is the row's own and factors out of its sum, so that one search for the largest number of neighbours and
    one sort of the distances a row serve all combinations. The reference is read `rows_at_once` rows at a time.
    """
    if not neighbors or not density_powers or not distance_powers:
        raise ValueError("neighbors, density_powers and distance_powers must each have at least one value")
    if min(neighbors) < 1:
        raise ValueError(f"neighbors={min(neighbors)} must be at least 1")
    for name, powers in (("density_power", density_powers), ("distance_power", distance_powers)):
        for value in powers:
            if not np.isfinite(value):
                raise ValueError(f"{name}={value} must be finite")
    rows = _checked(embeddings)
    drop = True if drop_first_neighbor else None
    means = _means(rows, reference, max(neighbors), drop, rows_at_once)
    sums = rank_weighted_means(rows, distance_powers, include_self=include_self)
    return {
        NovelSumSetting(count, density_power, distance_power): float(
            np.mean(density_of(means[:, count - 1], density_power) * sums[:, place])
        )
        for count in neighbors
        for density_power in density_powers
        for place, distance_power in enumerate(distance_powers)
    }


def _means(
    rows: np.ndarray, reference: np.ndarray | ReferenceRows | None, neighbors: int, drop: bool | None, rows_at_once: int
) -> np.ndarray:
    """(n, neighbors) as of `mean_distances`."""
    if reference is None:
        return mean_distances(rows, neighbors=neighbors, drop_first=drop)
    pool = reference if isinstance(reference, ReferenceRows) else ReferenceRows(reference)
    if pool.embeddings.shape[1] != rows.shape[1]:
        raise ValueError(
            f"the set has dimension {rows.shape[1]}, the reference has {pool.embeddings.shape[1]}: use one encoder"
        )
    return means_of(pool.nearest_distinct(rows, neighbors + 1, rows_at_once), drop_first=drop)


def _checked(embeddings: np.ndarray) -> np.ndarray:
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"the set has shape {embeddings.shape}, expected (rows, dimension) with at least one row")
    return matrix(embeddings)
