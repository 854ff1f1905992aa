"""Rows of like length in one batch, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(lengths: Sequence[int], tokens_per_batch: int) -> list[np.ndarray]:
    """Index arrays that partition the rows, the longest first; each is at most `tokens_per_batch` tokens, padding counted.

    A row that is longer than that has a batch of its own. Depends on the lengths alone: the same rows, the same batches.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, tokens_per_batch // longest)
        batches.append(order[start:stop])
        start = stop
    return batches


def padded_positions(lengths: Sequence[int], batches: Sequence[np.ndarray]) -> int:
    """Tokens that the batches have with their padding."""
    return sum(len(batch) * max(int(lengths[i]) for i in batch) for batch in batches)
