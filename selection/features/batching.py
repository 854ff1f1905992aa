"""Rows of like length in one batch, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAX_PADDING = 0.1
"""A row that would be padded by more than this share of the batch's width begins the next batch."""

TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 16384}
"""Positions of a batch by device. On a CPU, 512 took a sixth more CPU seconds with SmolLM2; a GPU needs more."""


def default_budget(device: str) -> int:
    """Positions of a batch on a device of this type."""
    return TOKENS_PER_BATCH[device]


def plan_batches(lengths: Sequence[int], tokens_per_batch: int) -> list[np.ndarray]:
    """Index arrays that partition the rows, the longest first; each has at most `tokens_per_batch` positions.

    Padding counts as positions. A row longer than that is a batch of its own. The plan depends on the lengths alone.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    ordered = np.asarray(lengths, dtype=np.int64)[order]
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(ordered[start]))
        alike = int(np.searchsorted(-ordered, -(1 - MAX_PADDING) * longest, side="right"))
        stop = min(start + max(1, tokens_per_batch // longest), max(alike, start + 1))
        batches.append(order[start:stop])
        start = stop
    return batches


def padded_positions(lengths: Sequence[int], batches: Sequence[np.ndarray]) -> int:
    """Tokens that the batches have with their padding."""
    return sum(len(batch) * max(int(lengths[i]) for i in batch) for batch in batches)
