"""Weights of clusters that change with what the rows drawn from them scored."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from siftune.selection.kernels.validation import name_rows, require_weights

ClusterWeighting = Literal["softmax_product", "softmax", "ratio"]
_SUM_TOLERANCE = 1e-6


def mean_by_cluster(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(count,) float64 means of (m,) `values` by their (m,) int64 `labels`; NaN for clusters without a value.

    Values that are NaN are left out. ValueError names infinite values and labels that are not below `count`.
    """
    values, labels = np.asarray(values, dtype=np.float64), np.asarray(labels)
    if values.shape != labels.shape:
        raise ValueError(f"there are {len(values)} values and {len(labels)} labels: give one of each a row")
    outside = np.flatnonzero((labels < 0) | (labels >= count))
    if outside.size:
        raise ValueError(f"labels must be 0 to {count - 1}; those at {name_rows(outside)} are not")
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise ValueError(f"values at {name_rows(infinite)} are infinite: give NaN where there is no score")
    scored = ~np.isnan(values)
    counts = np.bincount(labels[scored], minlength=count)
    sums = np.bincount(labels[scored], weights=values[scored], minlength=count)
    return np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)


def updated_weights(weights: np.ndarray, means: np.ndarray, weighting: ClusterWeighting) -> np.ndarray:
    """(K,) float64 weights of the next round, out of (K,) `weights` that sum to 1 and the clusters' (K,) mean scores s.

    Clusters of NaN mean keep their weights exactly; the others share what these leave, in proportion to
    softmax_product: w_j * exp(s_j) (a weight of 0 stays 0); softmax: exp(s_j); ratio: w_j * max(s_j, 0). Where all
    shares are 0 nothing changes. Yu et al. 2024 (arXiv 2409.11378): Eq. 6 is w_j * s_j, its code the softmax.
    """
    weights, means = np.asarray(weights, dtype=np.float64), np.asarray(means, dtype=np.float64)
    _check(weights, means, weighting)
    scored = np.flatnonzero(~np.isnan(means))
    shares = _shares(weights[scored], means[scored], weighting)
    total = float(shares.sum())
    if total == 0:
        return weights.copy()
    updated = weights.copy()
    kept = float(weights[np.isnan(means)].sum())
    updated[scored] = max(0.0, 1.0 - kept) * (shares / total)
    return updated


def _shares(weights: np.ndarray, means: np.ndarray, weighting: ClusterWeighting) -> np.ndarray:
    """(c,) float64 shares, not scaled to any sum; none overflows, and the largest does not vanish unless all do."""
    if weighting == "ratio":
        gains = np.maximum(means, 0.0)
        return weights * (gains / gains.max(initial=np.finfo(np.float64).tiny))
    with np.errstate(divide="ignore"):
        logs = means if weighting == "softmax" else means + np.log(weights)
    largest = logs.max(initial=-np.inf)
    return np.exp(logs - largest) if np.isfinite(largest) else np.zeros(len(logs))


def _check(weights: np.ndarray, means: np.ndarray, weighting: ClusterWeighting) -> None:
    if weighting not in get_args(ClusterWeighting):
        raise ValueError(f"weighting={weighting!r} is not one of {', '.join(get_args(ClusterWeighting))}")
    if weights.shape != means.shape or weights.ndim != 1:
        raise ValueError(f"weights have shape {weights.shape} and means {means.shape}: give one of each a cluster")
    require_weights(weights)
    if abs(float(weights.sum()) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"weights sum to {float(weights.sum())!r}, they must sum to 1")
    infinite = np.flatnonzero(np.isinf(means))
    if infinite.size:
        raise ValueError(f"the mean scores of clusters {name_rows(infinite)} are infinite")
