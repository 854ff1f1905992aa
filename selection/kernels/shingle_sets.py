"""Near-duplicates among sets of shingles: rows that share a bucket are compared exactly, in the order of the pool."""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.compiled import compiled

SINGLE = -1
"""The bucket of a row that no other row shares."""


def buckets(keys: np.ndarray) -> tuple[np.ndarray, int]:
    """(n, b) uint64 keys, one a band, to (n, b) int32 numbers of the buckets that hold several rows, and their count.

    Rows with equal keys in a band share its bucket; SINGLE where a row is alone. One band is sorted at a time.
    """
    numbers = np.full(keys.shape, SINGLE, np.int32)
    count = 0
    for band in range(keys.shape[1]):
        order = np.argsort(keys[:, band], kind="stable")
        ordered = keys[order, band]
        new = np.ones(len(order), bool)
        new[1:] = ordered[1:] != ordered[:-1]
        group = np.cumsum(new) - 1
        several = np.bincount(group, minlength=1) > 1
        number = np.where(several, np.cumsum(several) - 1 + count, SINGLE)
        numbers[order, band] = number[group]
        count += int(several.sum())
    return numbers, count


@compiled()
def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    """|A and B| / |A or B| of two ascending arrays of distinct values, not both empty."""
    i, j, both = 0, 0, 0
    while i < left.shape[0] and j < right.shape[0]:
        if left[i] == right[j]:
            both += 1
            i += 1
            j += 1
        elif left[i] < right[j]:
            i += 1
        else:
            j += 1
    return both / (left.shape[0] + right.shape[0] - both)


@compiled()
def find_copies(
    start: int,
    stop: int,
    similarity: float,
    shingles: np.ndarray,
    offsets: np.ndarray,
    bucket: np.ndarray,
    head: np.ndarray,
    following: np.ndarray,
    seen: np.ndarray,
    copy_of: np.ndarray,
    overlap: np.ndarray,
) -> int:
    """Go through rows start to stop: each is a copy of the kept row most similar to it, or kept; returns comparisons.

    shingles (s,) uint64, row i's ascending at offsets[i]:offsets[i + 1]; bucket (n, b) int32. What is carried from call
    to call: head (buckets,) int32 the last kept row of each and following (n, b) int32 the one before it (-1: none),
    seen (n,) int32 filled with -1. Results: copy_of (n,) int32, -1 for kept rows, and overlap (n,) float64. Ties go to
    the lower row.
    """
    compared = 0
    for row in range(start, stop):
        mine = shingles[offsets[row] : offsets[row + 1]]
        best, found = -1, 0.0
        for band in range(bucket.shape[1]):
            other = -1 if bucket[row, band] < 0 else head[bucket[row, band]]
            while other >= 0:
                if seen[other] != row:
                    seen[other] = row
                    theirs = shingles[offsets[other] : offsets[other + 1]]
                    small, large = min(mine.shape[0], theirs.shape[0]), max(mine.shape[0], theirs.shape[0])
                    # Two sets cannot be more alike than their sizes are.
                    if small / large >= similarity:
                        compared += 1
                        value = jaccard(mine, theirs)
                        if value >= similarity and (value > found or (value == found and other < best)):
                            best, found = other, value
                other = following[other, band]
        copy_of[row], overlap[row] = best, found
        if best < 0:
            for band in range(bucket.shape[1]):
                number = bucket[row, band]
                if number >= 0:
                    following[row, band] = head[number]
                    head[number] = row
    return compared
