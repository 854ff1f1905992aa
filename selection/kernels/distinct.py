"""Distinct rows of a matrix, found by hashing."""

from __future__ import annotations

import numpy as np

from siftune.selection.kernels.compiled import compiled
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.vectors import row_blocks

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_COMPARED_AT_ONCE = 4096


def first_equal(rows: np.ndarray) -> np.ndarray:
    """(n,) int64: for every row of an (n, d) float32 matrix the lowest row equal to it (itself where there is none).

    Entries are compared by value, so 0.0 and -0.0 are equal. Time O(n d), memory O(n).
    """
    first = np.empty(len(rows), dtype=np.int64)
    places = 1 << max(4, (2 * len(rows)).bit_length())
    _find(rows, np.full(places, -1, dtype=np.int64), np.empty(len(rows), dtype=np.uint64), first)
    return first


def is_first(embeddings: np.ndarray) -> np.ndarray:
    """(n,) bool: whether no lower row of (n, d) embeddings is equal to it, as float32, reading them block by block.

    Memory O(n): only rows whose hashes are equal are read again and compared. (Of three rows with one hash, of which
    the second and third alone are equal, both count as first: hashes have 64 bits.)
    """
    hashes = np.empty(len(embeddings), dtype=np.uint64)
    for first, block in row_blocks(embeddings):
        _hash_rows(block, hashes[first : first + len(block)])
        report("looking for copies", first + len(block), len(embeddings))
    _, firsts, group = np.unique(hashes, return_index=True, return_inverse=True)
    firsts = firsts[group]
    found = firsts == np.arange(len(hashes))
    repeated = np.flatnonzero(~found)
    for start in range(0, len(repeated), _COMPARED_AT_ONCE):
        rows = repeated[start : start + _COMPARED_AT_ONCE]
        left, right = (np.asarray(embeddings[some], dtype=np.float32) for some in (rows, firsts[rows]))
        found[rows] = (left != right).any(axis=1)
    return found


@compiled()
def _hash_rows(rows: np.ndarray, hashes: np.ndarray) -> None:
    for row in range(rows.shape[0]):
        hashes[row] = _hash(rows[row])


@compiled()
def _find(rows: np.ndarray, table: np.ndarray, hashes: np.ndarray, first: np.ndarray) -> None:
    """Open addressing: `table` holds distinct rows; a row goes to the first free place unless its equal is met."""
    mask = table.shape[0] - 1
    for row in range(rows.shape[0]):
        hashes[row] = _hash(rows[row])
        place = np.int64(hashes[row] >> _HALF) & mask
        while table[place] >= 0:
            other = table[place]
            if hashes[other] == hashes[row] and np.array_equal(rows[other], rows[row]):
                break
            place = (place + 1) & mask
        if table[place] < 0:
            table[place] = row
        first[row] = table[place]


@compiled()
def _hash(row: np.ndarray) -> np.uint64:
    # Two independent chains, as each step waits for the one before it.
    even, odd = np.uint64(row.shape[0]), _MULTIPLIER
    for column in range(0, row.shape[0] - 1, 2):
        even = (even ^ _bits(row[column])) * _MULTIPLIER
        even ^= even >> _HALF
        odd = (odd ^ _bits(row[column + 1])) * _MULTIPLIER
        odd ^= odd >> _HALF
    if row.shape[0] % 2:
        even = (even ^ _bits(row[row.shape[0] - 1])) * _MULTIPLIER
    mixed = (even ^ (odd >> _HALF) ^ (odd << _HALF)) * _MULTIPLIER
    return mixed ^ (mixed >> _HALF)


@compiled()
def _bits(value: np.float32) -> np.uint64:
    # Adding 0 makes -0.0 the same bits as 0.0.
    return np.uint64(np.float32(value + np.float32(0.0)).view(np.uint32))
