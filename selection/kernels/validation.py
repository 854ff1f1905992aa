"""Checks that selectors make on the arrays they are given; every message names the rows and the remedy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from siftune.selection.interface import Features

_NAMED_ROWS = 10


def name_rows(rows: np.ndarray) -> str:
    """The first rows of `rows` as text, for an error message."""
    more = f" and {len(rows) - _NAMED_ROWS:,} more" if len(rows) > _NAMED_ROWS else ""
    return ", ".join(str(int(row)) for row in rows[:_NAMED_ROWS]) + more


def require_finite(values: np.ndarray, what: str) -> None:
    """Refuse NaN and infinite entries of an (n,) or (n, d) array; ValueError names the rows."""
    finite = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
    if not finite.all():
        bad = name_rows(np.flatnonzero(~finite))
        raise ValueError(f"{what} has NaN or infinite values in rows {bad}: compute it again or leave them out")


def require_lengths(lengths: np.ndarray | None, size: int, name: str) -> np.ndarray:
    """(n,) int64 token counts, checked: given, one a row, whole and not negative."""
    if lengths is None:
        raise ValueError(f"this needs features.{name}, which was not given: compute the token counts of the pool first")
    lengths = np.asarray(lengths)
    if lengths.shape != (size,):
        raise ValueError(f"features.{name} has shape {lengths.shape}, the pool has {size} rows")
    if not np.issubdtype(lengths.dtype, np.integer):
        require_finite(lengths, f"features.{name}")
    wrong = np.flatnonzero((lengths < 0) | (lengths != np.floor(lengths)))
    if wrong.size:
        raise ValueError(f"features.{name} must be whole numbers of at least 0; rows {name_rows(wrong)} are not")
    return lengths.astype(np.int64, copy=False)


def require_embeddings(features: Features) -> np.ndarray:
    """The (n, d) embeddings; their values are checked where they are read, block by block."""
    embeddings = features.embeddings
    if embeddings is None:
        raise ValueError("this needs features.embeddings, which was not given: name an encoder")
    if embeddings.ndim != 2 or embeddings.shape[0] != features.size or embeddings.shape[1] == 0:
        raise ValueError(f"features.embeddings has shape {embeddings.shape}, expected ({features.size}, dimension)")
    if not np.issubdtype(embeddings.dtype, np.floating):
        raise ValueError(f"features.embeddings has dtype {embeddings.dtype}, expected float16, float32 or float64")
    return embeddings


def require_queries(queries: Mapping[str, np.ndarray], dimension: int) -> dict[str, np.ndarray]:
    """Target task -> (m, d) float64 query embeddings, checked: present, finite, not zero, of the pool's dimension."""
    if not queries:
        raise ValueError("this needs features.queries, which was not given: name at least one target task")
    checked = {}
    for task, rows in queries.items():
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[0] == 0:
            raise ValueError(f"queries of the target {task!r} have shape {rows.shape}, expected (rows, {dimension})")
        if rows.shape[1] != dimension:
            raise ValueError(f"queries of the target {task!r} have dimension {rows.shape[1]}, the pool has {dimension}")
        require_finite(rows, f"queries of the target {task!r}")
        zero = np.flatnonzero(~rows.any(axis=1))
        if zero.size:
            raise ValueError(f"queries of the target {task!r} are zero vectors in rows {name_rows(zero)}: no direction")
        checked[task] = rows.astype(np.float64)
    return checked
