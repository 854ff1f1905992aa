"""Picks out of clusters: how many rows each gives, which, and in what order."""

from __future__ import annotations

import numpy as np

from siftune.selection.interface import Budget, Features
from siftune.selection.kernels.budget import fill, purse, wanted_rows
from siftune.selection.kernels.kmeans import KMeans, kmeans
from siftune.selection.kernels.shares import apportion, ranks_within
from siftune.selection.kernels.validation import require_embeddings
from siftune.selection.kernels.vectors import unit_matrix


def embedding_clusters(
    features: Features, count: int, rng: np.random.Generator, *, normalize: bool, restarts: int
) -> KMeans:
    """k-means on the pool's embeddings as they are given, or on unit rows, which are then held in memory."""
    embeddings = require_embeddings(features)
    return kmeans(unit_matrix(embeddings) if normalize else embeddings, count, rng, restarts=restarts)


def weighted_order(log_weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) a random order of the rows in which each comes next with probability proportional to its weight among those
    that are left, i.e. a weighted draw without replacement, within any group of rows as well as in all.

    Weights are given as (n,) logarithms, so none overflows; rows of weight 0 (-inf) come last, in uniformly random
    order. One random number a row, in row order (Gumbel keys: Efraimidis and Spirakis 2006; Kool et al. 2019).
    """
    noise = rng.gumbel(size=len(log_weights))
    return np.lexsort((-noise, -(log_weights + noise)))


def draw(
    labels: np.ndarray,
    order: np.ndarray,
    weights: np.ndarray,
    features: Features,
    budget: Budget,
    taken: np.ndarray | None = None,
) -> np.ndarray:
    """(k,) int64 picks: clusters give rows in proportion to (K,) `weights`, each its first rows in `order`.

    `labels` (n,) the cluster of every row; `order` all rows by preference; `taken` (n,) bool rows that may not be
    picked any more. Examples and fraction: shares by `apportion`, so the budget is met whatever the sizes, and clusters
    take turns in proportion to their weights. Token budgets: all rows are dealt out by these turns and filled greedily.
    """
    if taken is not None:
        order = order[~taken[order]]
    ranks = ranks_within(labels[order])
    # Weights too small to divide by count as 0 here: their turns come last.
    with np.errstate(divide="ignore", over="ignore"):
        turns = (ranks + 0.5) / weights[labels[order]]
    dealt = np.lexsort((labels[order], ranks, turns))
    if budget.unit == "tokens":
        purse(features, budget, taken)
        return fill(order[dealt], features, budget)
    wanted = wanted_rows(features, budget, taken)
    sizes = np.bincount(labels[order], minlength=len(weights))
    counts = apportion(weights, sizes, wanted)
    return order[dealt[(ranks < counts[labels[order]])[dealt]]].astype(np.int64)
