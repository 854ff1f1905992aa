"""Signals that people bring as files in place of models: .npy, safetensors and Parquet arrays, one entry a pool row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from siftune.selection.features.array_files import (
    IDS,
    ArrayError,
    numbers,
    ordered,
    read_array,
    read_parquet,
    tag_matrix,
)
from siftune.selection.files import sha256_of
from siftune.selection.pool.store import Pool

_SPEC = re.compile(r"(?P<file>.+\.(?P<kind>npy|safetensors|parquet))(?::(?P<name>[^/\\]+))?")
_EXAMPLE = "FILE.npy, FILE.safetensors[:TENSOR] or FILE.parquet[:COLUMN]"


@dataclass(frozen=True, kw_only=True)
class GradientFile:
    """The gradients of one checkpoint (LESS)."""

    path: str
    """File of the (n, p) array."""
    learning_rate: float
    """Mean learning rate of the epoch that the checkpoint ended: its weight in the sum."""


@dataclass(frozen=True, kw_only=True)
class ArraysConfig:
    """Files of precomputed signals: FILE.npy, FILE.safetensors[:TENSOR] or FILE.parquet[:COLUMN], one row a pool row.

    A Parquet file with a column `id` (the pool's row ids, or the values of the rows' own column `id`) is put in the
    pool's order; others must be in that order. What is given here is neither computed nor read from the pool.
    """

    embeddings: str | None = None
    """(n, d) numbers; queries (below) must come from the same encoder."""
    queries: Mapping[str, str] = field(default_factory=dict)
    """Target task -> (m, d) query embeddings."""
    reference_embeddings: str | None = None
    """(r, d) embeddings of another pool, for densities (NovelSelect)."""
    scores: Mapping[str, str] = field(default_factory=dict)
    """Score name -> (n,) numbers."""
    tags: str | None = None
    """Parquet column of lists of tags, or an (n, L) array of 0 and 1."""
    tag_embeddings: str | None = None
    """(L, d) numbers, in alphabetical order of the tags, or a Parquet file with a column `tag`."""
    label_graph: str | None = None
    """A label graph that siftune saved (label_graph.safetensors in the folder of a subset that MIG picked)."""
    gradients: Sequence[GradientFile] = ()
    """The pool rows' gradients, one file a checkpoint (LESS)."""
    query_gradients: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Target task -> files of (m, p) gradients, one a checkpoint in the order of `gradients`."""
    trajectories: str | None = None
    """(n, checkpoints) losses of a small model as it was trained (S2L)."""
    num_tokens: str | None = None
    """(n,) whole numbers, for token budgets and lengths."""

    def files(self) -> dict[str, str]:
        """config key -> file, of everything given."""
        found: dict[str, str] = {}
        for name, value in vars(self).items():
            _collect(f"arrays.{name}", value, found)
        return found

    def __post_init__(self) -> None:
        for key, spec in self.files().items():
            _split(key, spec)
        for task, files in self.query_gradients.items():
            if len(files) != len(self.gradients):
                raise ArrayError(
                    f"arrays.query_gradients.{task} names {len(files)} files and arrays.gradients "
                    f"{len(self.gradients)}: both need one a checkpoint"
                )

    def require_files(self) -> None:
        """ArrayError for a file that is not there."""
        for key, spec in self.files().items():
            if not _split(key, spec)[0].is_file():
                raise ArrayError(f"{key}={spec}: there is no such file")


def _collect(key: str, value: Any, found: dict[str, str]) -> None:
    if isinstance(value, str):
        found[key] = value
    elif isinstance(value, GradientFile):
        found[key] = value.path
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _collect(f"{key}.{name}", item, found)
    elif isinstance(value, Sequence):
        for number, item in enumerate(value):
            _collect(f"{key}.{number}", item, found)


def _split(key: str, spec: str) -> tuple[Path, str | None]:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ArrayError(f"{key}={spec}: expected {_EXAMPLE}")
    return Path(match["file"]).expanduser(), match["name"]


class GivenArrays:
    """Reads the files of an ArraysConfig; remembers the digest of each, which is what a fingerprint takes of it."""

    def __init__(self, config: ArraysConfig, pool: Pool) -> None:
        self._files = config.files()
        self._pool = pool
        self.digests: dict[str, str] = {}

    def __contains__(self, key: str) -> bool:
        return any(name == key or name.startswith(f"{key}.") for name in self._files)

    def path(self, key: str) -> Path:
        """The file of a key, for those who read it themselves."""
        path, name = _split(key, self._files[key])
        # The name is part of what was read: two columns of one file are two signals.
        self.digests[key] = sha256_of(path) if name is None else f"{sha256_of(path)}:{name}"
        return path

    def free(self, key: str) -> np.ndarray:
        """An array whose rows are not the pool's, e.g. queries."""
        _, name = _split(key, self._files[key])
        return read_array(self.path(key), name, self._say(key))

    def rows(self, key: str) -> np.ndarray:
        """An array with one entry a pool row, in the pool's order."""
        _, name = _split(key, self._files[key])
        path = self.path(key)
        if path.suffix == ".parquet":
            table = read_parquet(path, name, self._say(key))
            return numbers(self._in_order(table, key).column(0), self._say(key))
        array = read_array(path, name, self._say(key))
        self._check_length(len(array), key)
        return array

    def tags(self, key: str) -> tuple[csr_array, list[str]]:
        """(n, L) 0/1 and the names of the tags; those of an array without names are its column numbers."""
        path, name = _split(key, self._files[key])
        if path.suffix != ".parquet":
            array = self.rows(key)
            if array.ndim != 2 or not np.isin(array, (0, 1)).all():
                raise ArrayError(f"{self._say(key)} must be an (n, L) array of 0 and 1")
            return csr_array(array.astype(np.float64)), [str(column) for column in range(array.shape[1])]
        table = self._in_order(read_parquet(self.path(key), name, self._say(key)), key)
        column = table.column(0).combine_chunks()
        if not pa.types.is_list(column.type) or not pa.types.is_string(column.type.value_type):
            raise ArrayError(f"{self._say(key)} holds {column.type}, expected lists of strings")
        return tag_matrix(column)

    def named(self, key: str, names: list[str], column: str) -> np.ndarray:
        """An array with one entry a name: in their order, or by a Parquet `column` that names the entries."""
        path, name = _split(key, self._files[key])
        if path.suffix != ".parquet":
            array = self.free(key)
            if len(array) != len(names):
                raise ArrayError(f"{self._say(key)} has {len(array):,} rows, expected {len(names):,}, one a {column}")
            return array
        table = read_parquet(self.path(key), name, self._say(key), keep=column)
        in_order = ordered(table, column, np.array(names, dtype=object), self._say(key))
        return numbers(in_order.column(0), self._say(key))

    def _in_order(self, table: pa.Table, key: str) -> pa.Table:
        if IDS not in table.column_names:
            self._check_length(table.num_rows, key)
            return table
        given = set(table[IDS].cast(pa.string()).to_pylist())
        own = None if str(self._pool.ids[0]) in given else self._pool.own_ids()
        return ordered(table, IDS, self._pool.ids if own is None else own, self._say(key))

    def _check_length(self, length: int, key: str) -> None:
        if length != len(self._pool):
            raise ArrayError(
                f"{self._say(key)} has {length:,} rows and the pool {len(self._pool):,} (rows that were put aside or "
                "removed as copies do not count): give one row a pool row, in its order, or a Parquet file with a "
                f"column {IDS!r}"
            )

    def _say(self, key: str) -> str:
        return f"{key}={self._files[key]}"
