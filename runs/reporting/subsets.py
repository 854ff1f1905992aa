"""What the runs of a report picked, and what their store knows of the pool that they picked from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from siftune.runs.artifacts import read_record
from siftune.runs.reporting.records import RunRecord
from siftune.runs.reporting.rows import sections
from siftune.selection.pool.store import ROWS_FILE, Pool
from siftune.selection.pool.subset import SUBSET_FILE, read_indices

SCORES_FIRST = ("quality", "complexity", "deita", "ifd", "perplexity", "loss")
"""Of many scores these are shown before others."""


@dataclass(frozen=True)
class Picks:
    """The subsets of one method, one a seed."""

    name: str
    rows: Mapping[int, np.ndarray]
    """seed -> (k,) int64 rows of the pool in the order picked."""
    folders: Mapping[int, Path]

    @property
    def seed(self) -> int:
        """The seed that stands for the method where one subset is shown."""
        return min(self.rows)

    @property
    def first(self) -> np.ndarray:
        """The subset of that seed."""
        return self.rows[self.seed]

    @property
    def all(self) -> np.ndarray:
        """The rows of all seeds, a row as often as it was picked."""
        return np.concatenate(list(self.rows.values()))


@dataclass(frozen=True)
class PickedSection:
    """The methods of a section, on their pool."""

    title: str
    pool: PoolFeatures
    methods: tuple[Picks, ...]


@dataclass(frozen=True)
class PoolFeatures:
    """A stored pool with the features that the store has of its rows; what it has not is None or empty."""

    name: str
    fingerprint: str
    pool: Pool
    store: Path
    used: Counter[str] = field(default_factory=Counter)
    """Fingerprint of an artifact -> how many runs read it."""

    def __len__(self) -> int:
        return len(self.pool)

    @cached_property
    def embeddings(self) -> tuple[str, np.ndarray] | None:
        """(encoder, (n, d)): those that most runs read, or others of the same rows."""
        for record, folder in self._of_the_pool("embeddings"):
            found = _array(folder / "embeddings.npy", len(self))
            if found is not None:
                return str(record["config"].get("name", record["name"])), found
        return None

    @cached_property
    def num_tokens(self) -> np.ndarray | None:
        """(n,) tokens of each row."""
        found = (_array(folder / "num_tokens.npy", len(self)) for _, folder in self._of_the_pool("tokens"))
        return next((array for array in found if array is not None), None)

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """name -> (n,) float64: the pool's own columns, and what scorers computed."""
        found = dict(self.pool.scores)
        for _, folder in self._of_the_pool("scores"):
            for path in sorted(folder.glob("*.npy")):
                array = _array(path, len(self))
                if path.stem not in found and array is not None and array.ndim == 1:
                    found[path.stem] = np.asarray(array, dtype=np.float64)
        first = [name for name in SCORES_FIRST if name in found]
        return {name: found[name] for name in (*first, *(name for name in found if name not in first))}

    @cached_property
    def tags(self) -> tuple[csr_array, list[str]] | None:
        """(n, L) 0/1 and the L names: the pool's own, or a tagger's."""
        own = self.pool.tags()
        if own is not None:
            return own
        from siftune.selection.features.taggers.tagging import TAGS_FILE, read_tags

        raw = list(self._of_the_pool("tagging"))
        normalised = [item for one, _ in raw for item in self._made_from("normalised_tags", "tags", one["fingerprint"])]
        for _, folder in (*normalised, *raw):
            if (folder / TAGS_FILE).is_file():
                tags, names = read_tags(folder)
                if tags.shape[0] == len(self):
                    return tags, names
        return None

    def _of_the_pool(self, kind: str) -> Iterator[tuple[dict[str, Any], Path]]:
        """The finished artifacts of this pool's rows, those that most runs read first."""
        found = self._made_from(kind, "pool", self.fingerprint)
        yield from sorted(found, key=lambda item: -self.used[item[0]["fingerprint"]])

    def _made_from(self, kind: str, part: str, fingerprint: str) -> list[tuple[dict[str, Any], Path]]:
        records = [(read_record(folder), folder) for folder in sorted((self.store / kind).glob("*"))]
        return [(record, folder) for record, folder in records if record and record["inputs"].get(part) == fingerprint]


def picked_sections(runs: Sequence[RunRecord], store: Path) -> list[PickedSection]:
    """The sections whose pool and subsets are in the store, with the methods whose subsets are."""
    pools: dict[str, PoolFeatures | None] = {}
    found = []
    for section in sections(runs):
        methods = [picks for row in section.rows if (picks := _picks(row.name, row.runs, store)) is not None]
        fingerprint = next((run.pool_fingerprint for row in section.rows for run in row.runs if run.selection), None)
        if not methods or fingerprint is None:
            continue
        if fingerprint not in pools:
            pools[fingerprint] = _pool(fingerprint, runs, store)
        pool = pools[fingerprint]
        if pool is not None:
            found.append(PickedSection(section.title, pool, tuple(methods)))
    return found


def artifact_folder(store: Path, kind: str, fingerprint: str, file: str) -> Path | None:
    """Where the artifact of this fingerprint lies, if it has this file."""
    return next((path.parent for path in (store / kind).glob(f"*-{fingerprint}/{file}")), None)


def _picks(name: str, runs: Sequence[RunRecord], store: Path) -> Picks | None:
    folders = {}
    for run in runs:
        record = read_record(run.folder) or {}
        subset = record.get("inputs", {}).get("subset")
        folder = None if subset is None else artifact_folder(store, "subset", str(subset), SUBSET_FILE)
        if folder is not None:
            folders[run.seed] = folder
    rows = {seed: read_indices(folder) for seed, folder in folders.items()}
    return Picks(name, rows, folders) if rows else None


def _pool(fingerprint: str, runs: Sequence[RunRecord], store: Path) -> PoolFeatures | None:
    folder = artifact_folder(store, "pool", fingerprint, ROWS_FILE)
    if folder is None:
        return None
    used: Counter[str] = Counter()
    for run in runs:
        if run.pool_fingerprint == fingerprint:
            record = read_record(run.folder) or {}
            used.update({str(stage["fingerprint"]) for stage in record.get("summary", {}).get("stages", [])})
    name = next(run.pool for run in runs if run.pool_fingerprint == fingerprint)
    return PoolFeatures(name, fingerprint, Pool.open(folder), store, used)


def _array(path: Path, rows: int) -> np.ndarray | None:
    """The array, memory-mapped; None where there is none of so many rows."""
    if not path.is_file():
        return None
    found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return found if found.ndim and len(found) == rows else None
