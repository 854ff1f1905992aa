"""Whole-number shares of a total: by weight, exactly, and never more than there is."""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.validation import require_weights


def apportion(weights: np.ndarray, capacities: np.ndarray, total: int) -> np.ndarray:
    """(c,) int64 counts that sum to `total`, in proportion to (c,) `weights` and at most (c,) `capacities`.

    Whoever would get as much as it can give gives all; what is then missing is shared among the others by their
    weights, and equally once all weights left are 0. The rest is rounded by largest remainder, ties to the lower index.
    Computed in whole numbers from the weights' own binary values: no rounding decides a share. O(c) a round.
    """
    weights, capacities = np.asarray(weights, dtype=np.float64), np.asarray(capacities, dtype=np.int64)
    require_weights(weights)
    if not 0 <= total <= capacities.sum():
        raise ValueError(f"a total of {total:,} cannot be shared: {int(capacities.sum()):,} at most")
    counts = np.zeros(len(weights), dtype=np.int64)
    exact = _whole_numbers(weights)
    open_ones = np.flatnonzero(capacities > 0).tolist()
    while total > 0:
        shares = [exact[one] for one in open_ones]
        if not any(shares):
            shares = [1] * len(open_ones)
        whole = sum(shares)
        filled = [
            one for one, share in zip(open_ones, shares, strict=True) if total * share >= whole * int(capacities[one])
        ]
        if not filled:
            counts[open_ones] = _largest_remainder(shares, total)
            break
        counts[filled] = capacities[filled]
        total -= int(capacities[filled].sum())
        open_ones = sorted(set(open_ones) - set(filled))
    return counts


def _whole_numbers(weights: np.ndarray) -> list[int]:
    """The weights times one power of two, as Python's unbounded whole numbers."""
    ratios = [weight.as_integer_ratio() for weight in weights.tolist()]
    scale = max((below for _, below in ratios), default=1)
    return [above * (scale // below) for above, below in ratios]


def _largest_remainder(shares: list[int], total: int) -> list[int]:
    whole = sum(shares)
    counts, remainders = zip(*(divmod(total * share, whole) for share in shares), strict=True)
    rounded_up = sorted(range(len(shares)), key=lambda one: (-remainders[one], one))[: total - sum(counts)]
    result = list(counts)
    for one in rounded_up:
        result[one] += 1
    return result


def ranks_within(groups: np.ndarray) -> np.ndarray:
    """(m,) how many earlier entries have the same group."""
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], groups[by_group], side="left")
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[by_group] = np.arange(len(groups)) - starts
    return ranks
