"""Measures of how well a set covers a reference pool: facility location and partition entropy."""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.kmeans import KMeans
from siftune.selection.kernels.neighbours import nearest
from siftune.selection.kernels.vectors import matrix
from siftune.selection.measures.blocks import ReferenceRows

_ROWS_AT_ONCE = 65_536


def facility_location(embeddings: np.ndarray, reference: ReferenceRows, *, rows: int = _ROWS_AT_ONCE) -> float:
    """Sum over the rows of the reference of the Euclidean distance to the nearest row of the set: smaller covers more.

    Time: r n coarse products (see `nearest`). `rows` of the reference are searched at a time.
    """
    return float(np.sqrt(reference.distances_to(embeddings, rows)).sum())


def partition_entropy(embeddings: np.ndarray, cells: KMeans) -> float:
    """-sum p log2 p, p the shares of the set's rows in the cells of a k-means of the reference: at most log2 K bits."""
    _, nearest_cells = nearest(matrix(embeddings), cells.centres.astype(np.float32), count=1)
    shares = np.bincount(nearest_cells[:, 0]) / len(embeddings)
    shares = shares[shares > 0]
    return abs(float((shares * np.log2(shares)).sum()))
