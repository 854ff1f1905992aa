"""Embeddings as kernels read them: blocks of float32 rows, checked, of any length or of length 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from siftune.selection.kernels.validation import name_rows

_VALUES_AT_ONCE = 2**22


def row_blocks(embeddings: np.ndarray, rows: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, (b, d) float32 rows as given) over an (n, d) array, memory-mapped or not, of any float dtype.

    A row with NaN or infinite values is a ValueError that names it.
    """
    size, dimension = embeddings.shape
    step = rows or max(1, _VALUES_AT_ONCE // dimension)
    for first in range(0, size, step):
        yield first, _checked(embeddings[first : first + step], first)


def matrix(embeddings: np.ndarray) -> np.ndarray:
    """(n, d) float32, contiguous and in memory, checked as above; not copied where it is that already."""
    ready = type(embeddings) is np.ndarray and embeddings.dtype == np.float32 and embeddings.flags.c_contiguous
    if ready and embeddings.flags.writeable:
        for _ in row_blocks(embeddings):
            pass
        return embeddings
    held = np.empty(embeddings.shape, dtype=np.float32)
    for first, block in row_blocks(embeddings):
        held[first : first + len(block)] = block
    return held


def unit_matrix(embeddings: np.ndarray) -> np.ndarray:
    """(n, d) float32 rows of length 1 (zero rows stay zero), in memory; lengths are taken in float64."""
    held = np.empty(embeddings.shape, dtype=np.float32)
    for first, block in row_blocks(embeddings):
        held[first : first + len(block)] = unit_block(block)
    return held


def unit_block(block: np.ndarray) -> np.ndarray:
    """(b, d) float32 rows of length 1, zero rows left as they are; each depends on its own row alone."""
    return wide_unit_block(block).astype(np.float32)


def wide_unit_block(block: np.ndarray) -> np.ndarray:
    """The same in float64, which tells rows apart that are much alike."""
    wide = block.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    np.divide(wide, largest, out=wide, where=largest > 0)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.divide(wide, lengths, out=wide, where=lengths > 0)


def _checked(raw: np.ndarray, first: int) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        block = np.ascontiguousarray(raw, dtype=np.float32)
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        bad = name_rows(first + np.flatnonzero(~finite))
        raise ValueError(f"embeddings have NaN or infinite values in rows {bad}: encode them again or leave them out")
    return block
