"""A pool's signals cut down to some of its rows."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftune.selection.interface import Features
from siftune.selection.pool.source import PoolError
from siftune.selection.pool.store import Pool

IN_MEMORY = 2**28
"""Bytes of an array beyond which the cut copy lies in a temporary file."""
_COPIED_AT_ONCE = 8192
_ARRAYS = ("embeddings", "tags", "trajectories", "sources", "num_tokens", "num_response_tokens")


def read_candidates(path: Path, pool: Pool) -> np.ndarray:
    """(c,) int64 ascending rows of the pool that a file lists (see `read_rows`)."""
    return np.unique(read_rows(path, pool, "candidates"))


def read_rows(path: Path, pool: Pool, key: str) -> np.ndarray:
    """(k,) int64 rows of the pool whose ids a file lists, in its order and as often as it does: one a line, or JSONL
    rows with a key `id`, such as the subset.jsonl of an earlier selection (a folder stands for the subset.jsonl in it).

    PoolError names the config's `key`, the file and the line.
    """
    path = path / "subset.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise PoolError(f"{key}={path}: there is no such file")
    with path.open(encoding="utf-8") as file:
        wanted = {n: _id_of(line, f"{key}={path}", n) for n, line in enumerate(file, start=1) if line.strip()}
    if not wanted:
        raise PoolError(f"{key}={path} lists no id")
    known = {name: row for row, name in enumerate(pool.ids.tolist())}
    if next(iter(wanted.values())) not in known and (own := pool.own_ids()) is not None:
        known = {name: row for row, name in enumerate(own.tolist())}
    missing = [f"{name} (line {number})" for number, name in wanted.items() if name not in known]
    if missing:
        shown = ", ".join(missing[:3])
        raise PoolError(
            f"{key}={path}: {len(missing):,} of {len(wanted):,} ids are not in the pool, e.g. {shown}; ids are "
            "the rows' own, where each has one, or those that siftune gives (column `id` of a subset.jsonl)"
        )
    return np.array([known[name] for name in wanted.values()], dtype=np.int64)


def _id_of(line: str, say: str, number: int) -> str:
    if not line.lstrip().startswith("{"):
        return line.strip()
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError) as error:
        raise PoolError(f"{say}: line {number} is no JSON object with an id") from error


def restrict(features: Features, rows: np.ndarray) -> Features:
    """The features of the pool that consists of `rows` (c,) int64; row j of the result is row rows[j]."""
    changed: dict[str, Any] = {
        name: _cut(value, rows) for name in _ARRAYS if (value := getattr(features, name)) is not None
    }
    changed["scores"] = {name: values[rows] for name, values in features.scores.items()}
    if features.gradients is not None:
        changed["gradients"] = [(rate, _cut(array, rows)) for rate, array in features.gradients]
    if features.texts is not None:
        changed["texts"] = ChosenTexts(features.texts, rows)
    return dataclasses.replace(features, size=len(rows), **changed)


def _cut(array: Any, rows: np.ndarray) -> Any:
    width = array.shape[1] if array.ndim == 2 else 1
    if not isinstance(array, np.ndarray) or len(rows) * width * array.dtype.itemsize <= IN_MEMORY:
        return array[rows]
    with tempfile.TemporaryFile() as file:
        cut = np.memmap(file, dtype=array.dtype, mode="w+", shape=(len(rows), *array.shape[1:]))
    for first in range(0, len(rows), _COPIED_AT_ONCE):
        cut[first : first + _COPIED_AT_ONCE] = array[rows[first : first + _COPIED_AT_ONCE]]
    return cut


class ChosenTexts(Sequence[str]):
    """Some of the texts of a pool, read when asked for."""

    def __init__(self, texts: Sequence[str], rows: np.ndarray) -> None:
        self._texts = texts
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._texts[int(self._rows[index])]
