"""Checks that selectors make on the arrays they are given; every message names the rows and the remedy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array

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


def require_picked(picked: np.ndarray, size: int) -> np.ndarray:
    """(n,) bool, which rows are among (p,) `picked`; ValueError where they are not distinct rows of the pool."""
    picked = np.asarray(picked)
    outside = picked[(picked < 0) | (picked >= size)]
    if outside.size:
        raise ValueError(f"rows already picked are not in the pool of {size:,} rows: {name_rows(outside)}")
    rows, counts = np.unique(picked, return_counts=True)
    if len(rows) < len(picked):
        raise ValueError(f"rows already picked are named more than once: {name_rows(rows[counts > 1])}")
    taken = np.zeros(size, dtype=np.bool_)
    taken[rows] = True
    return taken


def require_clusters(labels: np.ndarray, weights: np.ndarray, taken: np.ndarray, size: int) -> None:
    """Refuse (n,) labels, (K,) weights and (n,) bool taken that do not go together; ValueError says what is wrong."""
    if labels.shape != (size,) or taken.shape != (size,):
        raise ValueError(f"labels have shape {labels.shape} and taken {taken.shape}, the pool has {size} rows")
    if taken.dtype != np.bool_:
        raise ValueError(f"taken has dtype {taken.dtype}, expected bool: one truth value a row")
    outside = np.flatnonzero((labels < 0) | (labels >= len(weights)))
    if outside.size:
        raise ValueError(f"there are {len(weights)} weights and other clusters in rows {name_rows(outside)}")
    require_weights(weights)


def require_weights(weights: np.ndarray) -> None:
    """Refuse (c,) weights that are NaN, infinite or negative; ValueError names them."""
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise ValueError(f"weights must be finite and not negative; those at {name_rows(wrong)} are not")


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


def require_score(features: Features, name: str) -> np.ndarray:
    """(n,) float64 values of one score, checked: given, one a row, finite."""
    values = features.scores.get(name)
    if values is None:
        there = ", ".join(sorted(features.scores)) or "none"
        raise ValueError(f"this needs the score {name!r}, which was not given; there are: {there}")
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (features.size,):
        raise ValueError(f"the score {name!r} has shape {values.shape}, the pool has {features.size} rows")
    require_finite(values, f"the score {name!r}")
    return values


def require_tags(features: Features) -> csr_array:
    """(n, L) tags as 0/1 float64 CSR with sorted, distinct entries: a tag repeated within a row counts once."""
    if features.tags is None:
        raise ValueError("this needs features.tags, which was not given: use a pool with tags, or a tagger")
    tags = csr_array(features.tags, dtype=np.float64, copy=True)
    if tags.shape[0] != features.size:
        raise ValueError(f"features.tags has {tags.shape[0]} rows, the pool has {features.size}")
    tags.sum_duplicates()
    tags.eliminate_zeros()
    tags.data[:] = 1.0
    return tags
