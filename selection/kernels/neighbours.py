"""Exact nearest neighbours in squared L2 distance, and the densities that follow from them.

Coarse products of blocks of rows (`coarse`) leave few pairs that may be neighbours (`neighbour_tiles`), and the
distances of those are taken in float64 in a fixed order: results depend on neither blocks nor threads nor the machine.
"""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.coarse import CoarseProducts, CoarseRows, coarse_rows
from siftune.selection.kernels.compiled import use_threads
from siftune.selection.kernels.distinct import first_equal
from siftune.selection.kernels.neighbour_tiles import Side, take
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.vectors import matrix

_BLOCK_ROWS = 2048
_TASK = "finding neighbours"


def nearest(points: np.ndarray, reference: np.ndarray | None = None, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest rows of the (r, d) reference to each of (n, d) points, by (distance, row).

    Without a reference the points are searched themselves, where a row is at distance 0 to itself; every block pair is
    then multiplied once for both sides. Arrays may be memory-mapped and of any float type; distances are those of the
    rows in float32, exact up to float64 rounding. Returns (n, count) float64 squared distances and (n, count) int64
    rows; where the reference has fewer rows, the rest is inf and -1. Time: n r coarse products of length d (half of
    them without a reference) and about O(n count log(r / count)) exact distances; memory: the results and one byte an
    entry (four where the machine is not quick at 8-bit products), and the float32 rows unless that is what was given.
    """
    if count < 1:
        raise ValueError(f"count={count} must be at least 1")
    left = matrix(points)
    right = left if reference is None else matrix(reference)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"the points have dimension {left.shape[1]}, the reference has {right.shape[1]}")
    if not len(right):
        raise ValueError("the reference has no rows")
    return _search(left, right, count)


def mean_distances(
    points: np.ndarray, reference: np.ndarray | None = None, *, neighbors: int, drop_first: bool | None = None
) -> np.ndarray:
    """(n, neighbors) float64: column j - 1 has the mean squared distance to the j nearest distinct reference rows.

    Exact duplicates in the reference count once. `drop_first` says whether the nearest is left out: None where it is
    the row itself (distance 0), True always, False never. Fewer rows than neighbours: the mean over those there are;
    none at all (a reference of one row, left out): NaN.
    """
    if neighbors < 1:
        raise ValueError(f"neighbors={neighbors} must be at least 1")
    pool = matrix(points if reference is None else reference)
    first = first_equal(pool)
    distinct = np.flatnonzero(first == np.arange(len(pool)))
    whole = len(distinct) == len(pool)
    searched = pool if whole else pool[distinct]
    count = neighbors + (drop_first is not False)
    distances, _ = nearest(
        searched if reference is None else points, None if reference is None else searched, count=count
    )
    if reference is None and not whole:
        distances = distances[np.searchsorted(distinct, first)]
    return means_of(distances, drop_first=drop_first)


def means_of(distances: np.ndarray, *, drop_first: bool | None) -> np.ndarray:
    """`mean_distances` from (n, count) squared distances to the nearest distinct rows, ascending, inf where there is
    none; count is the number of neighbours, and one more unless `drop_first` is False."""
    if drop_first is None:
        there = distances[:, 0] == 0
        distances[there, :-1] = distances[there, 1:]
        distances = distances[:, :-1]
    elif drop_first:
        distances = distances[:, 1:]
    known = np.isfinite(distances)
    counts = np.cumsum(known, axis=1)
    sums = np.cumsum(np.where(known, distances, 0.0), axis=1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def densities(
    points: np.ndarray,
    reference: np.ndarray | None = None,
    *,
    neighbors: int,
    power: float,
    drop_first: bool | None = None,
) -> np.ndarray:
    """(n,) float64: 1 / (mean squared distance to the `neighbors` nearest distinct reference rows + 1e-9)^power.

    `drop_first` as in `mean_distances`. Where there is no neighbour at all the density is 1.
    """
    means = mean_distances(points, reference, neighbors=neighbors, drop_first=drop_first)[:, -1]
    return density_of(means, power)


def density_of(means: np.ndarray, power: float) -> np.ndarray:
    """Densities of mean squared distances; 1 where the mean is NaN, i.e. there is no neighbour."""
    return np.where(np.isnan(means), 1.0, (means + 1e-9) ** -power)


def _search(points: np.ndarray, reference: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    symmetric = points is reference
    coarse, unit = coarse_rows(reference) if symmetric else coarse_rows(points, reference)
    left = _side(points, coarse[0], unit, count)
    right = left if symmetric else _side(reference, coarse[-1], unit, 0)
    product = CoarseProducts(_BLOCK_ROWS)
    pairs = _block_pairs(len(points), len(reference), symmetric)
    use_threads()
    for done, (start, other) in enumerate(pairs):
        tile = product(coarse[0].codes[start : start + _BLOCK_ROWS], coarse[-1].codes[other : other + _BLOCK_ROWS])
        is_first = start == other if symmetric else other == 0
        take(tile, is_first, symmetric and start != other, left, right, start, other)
        report(_TASK, done + 1, len(pairs))
    return left.distances, left.rows


def _side(vectors: np.ndarray, coarse: CoarseRows, unit: float, count: int) -> Side:
    size = len(vectors)
    return Side(
        vectors=vectors,
        steps=coarse.steps,
        lower=coarse.lower,
        upper=coarse.upper,
        unit=unit,
        bars=np.full(size, -np.inf, dtype=np.float32),
        distances=np.full((size, count), np.inf),
        rows=np.full((size, count), -1, dtype=np.int64),
    )


def _block_pairs(size: int, others: int, symmetric: bool) -> list[tuple[int, int]]:
    """First rows of the blocks to multiply; without a reference, blocks with themselves come before pairs of two."""
    starts, other_starts = range(0, size, _BLOCK_ROWS), range(0, others, _BLOCK_ROWS)
    if not symmetric:
        return [(start, other) for start in starts for other in other_starts]
    pairs = [(start, other) for start in starts for other in other_starts if other > start]
    return [(start, start) for start in starts] + pairs
