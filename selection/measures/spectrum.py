"""Measures of the eigenvalues of the cosine similarities of a set's rows: Vendi score, log-determinant distance.

(n, n) similarities and the (d, d) Gram matrix of the rows of length 1 share the eigenvalues that are not zero; the
smaller of the two is taken. Time O(n d min(n, d)), memory that matrix, in float64. Zero rows are similar to nothing,
not even to themselves.
"""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.progress import report
from siftune.selection.kernels.vectors import row_blocks, wide_unit_block
from siftune.selection.measures.undefined import UndefinedError

_VALUES_AT_ONCE = 2**20


def eigenvalues(embeddings: np.ndarray) -> np.ndarray:
    """(min(n, d),) float64 eigenvalues of the similarities, ascending and not negative; the other n - d are 0."""
    size, dimension = embeddings.shape
    step = max(1, _VALUES_AT_ONCE // dimension)
    if size <= dimension:
        unit = np.empty((size, dimension))
        for first, block in row_blocks(embeddings, step):
            unit[first : first + len(block)] = wide_unit_block(block)
        similarities = unit @ unit.T
    else:
        similarities = np.zeros((dimension, dimension))
        for first, block in row_blocks(embeddings, step):
            unit = wide_unit_block(block)
            similarities += unit.T @ unit
            report("multiplying rows", first + len(block), size)
    return np.maximum(np.linalg.eigvalsh(similarities), 0.0)


def vendi_score(values: np.ndarray, size: int) -> float:
    """exp of the entropy of the `eigenvalues` of n rows, over n: between 1 and n (Friedman and Dieng 2023)."""
    shares = values / size
    shares = shares[shares > 0]
    if not len(shares):
        raise UndefinedError("all rows are zero vectors, which have no direction")
    return float(np.exp(-(shares * np.log(shares)).sum()))


def log_det_distance(values: np.ndarray, size: int, *, ridge: float = 1.0) -> float:
    """log det(K + ridge I) of the (n, n) similarities K with these `eigenvalues` (Wang et al. 2024, regularised)."""
    if not ridge > 0:
        raise ValueError(f"ridge={ridge} must be positive: K of more rows than dimensions has the determinant 0")
    return float(np.log(values + ridge).sum() + (size - len(values)) * np.log(ridge))
