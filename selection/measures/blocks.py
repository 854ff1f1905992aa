"""A reference pool as the measures search it: memory-mapped rows in blocks, whose size a limit of memory decides."""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.distinct import is_first
from siftune.selection.kernels.kmeans import KMeans, kmeans
from siftune.selection.kernels.neighbours import nearest
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.vectors import matrix
from siftune.selection.measures.settings import MeasureSettings

_GIGABYTE = 1e9
_BUFFERS = 96e6
"""Bytes of products and sorted distances, whatever the sizes."""
_LEAST_ROWS = 2048


def block_rows(settings: MeasureSettings, size: int, dimension: int, reference_rows: int) -> int:
    """Rows of the reference to take at a time so that measuring a set of (size, dimension) keeps to the limit.

    ValueError where even few would exceed it. A row of a block takes three times its float32 values at most (itself,
    the same without copies, codes), a row of the set four times and its lists of neighbours; eigenvalues take three
    matrices, k-means of the reference the rows' coordinates along its axes.
    """
    fixed = (
        _BUFFERS
        + size * (16.0 * dimension + 64 * (settings.neighbors + 1) + 256)
        + 24.0 * min(size, dimension) ** 2
        + reference_rows * (4.0 * min(settings.clusters, 128) + 128)
    )
    least = fixed + 12.0 * dimension * _LEAST_ROWS
    if settings.memory_gb * _GIGABYTE < least:
        beside = f" beside {reference_rows:,} rows" if reference_rows else ""
        # Rounded up, so that the figure named is enough.
        enough = np.ceil(least / _GIGABYTE * 100) / 100
        raise ValueError(
            f"measures.memory_gb={settings.memory_gb:g} is too little for a set of {size:,} x {dimension:,}{beside}: "
            f"raise it to {enough:.2f}, or measure fewer rows"
        )
    return int((settings.memory_gb * _GIGABYTE - fixed) / (12.0 * dimension))


class ReferenceRows:
    """(r, d) rows of a reference pool, of any float type, memory-mapped or not; never in memory as a whole."""

    def __init__(self, embeddings: np.ndarray) -> None:
        if embeddings.ndim != 2 or 0 in embeddings.shape:
            raise ValueError(
                f"the reference has shape {embeddings.shape}, expected (rows, dimension) with at least one row"
            )
        self.embeddings = embeddings
        self._is_first: np.ndarray | None = None
        self._clusters: dict[tuple[int, int, int], KMeans] = {}

    def nearest_distinct(self, points: np.ndarray, count: int, rows: int) -> np.ndarray:
        """(n, count) float64 squared distances of the points to their nearest distinct rows, ascending, then inf."""
        if self._is_first is None:
            self._is_first = is_first(self.embeddings)
        best = np.full((len(points), count), np.inf)
        for first in range(0, len(self.embeddings), rows):
            block = self._block(first, rows, self._is_first[first : first + rows])
            if len(block):
                found, _ = nearest(points, block, count=count)
                best = np.sort(np.concatenate([best, found], axis=1), axis=1)[:, :count]
            report("searching the reference", min(first + rows, len(self.embeddings)), len(self.embeddings))
        return best

    def distances_to(self, points: np.ndarray, rows: int) -> np.ndarray:
        """(r,) float64 squared distance of every row to the nearest of the points."""
        distances = np.empty(len(self.embeddings))
        for first in range(0, len(self.embeddings), rows):
            found, _ = nearest(self._block(first, rows), points, count=1)
            distances[first : first + len(found)] = found[:, 0]
            report("measuring the reference", first + len(found), len(self.embeddings))
        return distances

    def clusters(self, count: int, seed: int, max_iterations: int) -> KMeans:
        """k-means of all rows, found once."""
        key = count, seed, max_iterations
        if key not in self._clusters:
            rng = np.random.default_rng(seed)
            self._clusters[key] = kmeans(self.embeddings, count, rng, max_iterations=max_iterations)
        return self._clusters[key]

    def _block(self, first: int, rows: int, kept: np.ndarray | None = None) -> np.ndarray:
        block = matrix(self.embeddings[first : first + rows])
        return block if kept is None or kept.all() else block[kept]
