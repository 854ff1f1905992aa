"""Measures of the distances between the rows of a set: DistSum, KNN distance, radius, cluster inertia.

They take (n, d) rows of any float type, memory-mapped or not, as the encoder gave them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from siftune.selection.kernels.kmeans import kmeans
from siftune.selection.kernels.neighbours import nearest
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.vectors import matrix, row_blocks, wide_unit_block
from siftune.selection.measures.undefined import UndefinedError, require_several

_ROWS_AT_ONCE = 1024


def distsum_cosine(embeddings: np.ndarray) -> float:
    """Mean cosine distance of two different rows; a zero row is at distance 1 from others but zero rows. Time O(n d).

    With u of length 1, or 0, and z zero rows it is 1 - (|sum u|^2 - sum |u|^2 + z (z - 1)) / (n (n - 1)).
    """
    size = require_several(embeddings)
    total, lengths, zero = np.zeros(embeddings.shape[1]), 0.0, 0
    for _, block in row_blocks(embeddings):
        unit = wide_unit_block(block)
        total += unit.sum(axis=0)
        lengths += float((unit * unit).sum())
        zero += int((~block.any(axis=1)).sum())
    similar = float(total @ total) - lengths + zero * (zero - 1)
    return max(0.0, 1 - similar / (size * (size - 1)))


def distsum_l2(embeddings: np.ndarray) -> float:
    """Mean Euclidean distance of two different rows. Time O(n^2 d) in float64 products; memory O(n d)."""
    size = require_several(embeddings)
    rows = matrix(embeddings).astype(np.float64)
    # Seen from one of them, rows that are much alike have small coordinates, and the products cancel little.
    rows -= rows[0].copy()
    rows -= rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", rows, rows)
    total = 0.0
    for first in range(0, size, _ROWS_AT_ONCE):
        for other in range(first, size, _ROWS_AT_ONCE):
            distances = _block_distances(rows, squares, first, other)
            if first == other:
                np.fill_diagonal(distances, 0)
            total += float(distances.sum()) * (1 if first == other else 2)
        report("taking distances", min(first + _ROWS_AT_ONCE, size), size)
    return total / (size * (size - 1))


def _block_distances(rows: np.ndarray, squares: np.ndarray, first: int, other: int) -> np.ndarray:
    left, right = slice(first, first + _ROWS_AT_ONCE), slice(other, other + _ROWS_AT_ONCE)
    distances = rows[left] @ rows[right].T
    distances *= -2
    distances += squares[left, None]
    distances += squares[right]
    np.maximum(distances, 0, out=distances)
    return np.sqrt(distances, out=distances)


class NeighborDistance(NamedTuple):
    """Mean Euclidean distances to nearest neighbours."""

    kth: float
    """To the k-th nearest other row."""
    mean: float
    """To the k nearest other rows."""


def knn_distance(embeddings: np.ndarray, *, neighbors: int = 10) -> NeighborDistance:
    """Distances to the `neighbors` nearest other rows of the set, or to all where it has fewer; copies count."""
    size = require_several(embeddings)
    if neighbors < 1:
        raise ValueError(f"neighbors={neighbors} must be at least 1")
    squared, _ = nearest(embeddings, count=min(neighbors, size - 1) + 1)
    # The first is the row itself, or a copy of it: at distance 0 in any case.
    distances = np.sqrt(squared[:, 1:])
    return NeighborDistance(float(distances[:, -1].mean()), float(distances.mean()))


def radius(embeddings: np.ndarray) -> float:
    """Geometric mean over the dimensions of the standard deviation of the rows; 0 where one dimension is constant."""
    size, dimension = require_several(embeddings), embeddings.shape[1]
    # Seen from one of the rows: a constant dimension is then 0 exactly.
    origin = np.asarray(embeddings[0], dtype=np.float64)
    mean, squares = np.zeros(dimension), np.zeros(dimension)
    for _, block in row_blocks(embeddings):
        mean += (block - origin).sum(axis=0) / size
    for _, block in row_blocks(embeddings):
        squares += ((block - origin - mean) ** 2).sum(axis=0) / size
    with np.errstate(divide="ignore"):
        return float(np.exp(0.5 * np.log(squares).mean()))


def cluster_inertia(
    embeddings: np.ndarray, *, clusters: int, rng: np.random.Generator, max_iterations: int = 300
) -> float:
    """Sum of the squared distances of the rows to the nearest of `clusters` k-means centres."""
    if len(embeddings) <= clusters:
        raise UndefinedError(
            f"{clusters} clusters need more rows than {len(embeddings)}: each would be a cluster by itself"
        )
    return kmeans(embeddings, clusters, rng, max_iterations=max_iterations).inertia
