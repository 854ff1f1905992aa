"""A pool on disk: built once from a source as a stream, then opened as often as needed without reading it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from siftune.selection.pool.intake import Intake
from siftune.selection.pool.rows import Message, Row
from siftune.selection.pool.rows_file import RowWriter, copy_rows, open_table
from siftune.selection.pool.source import PoolError, PoolSource

ROWS_FILE = "rows.arrow"
QUARANTINE_FILE = "quarantine.jsonl"
PROGRESS_EVERY = 500

Progress = Callable[[int], None]
"""Called now and then with the number of records read so far, and once with the final one."""


@dataclass(frozen=True, kw_only=True)
class PoolSummary:
    """What building a pool did with the records it read."""

    rows: int
    """Rows of the pool."""
    read: int
    """Records read: rows + quarantined + removed duplicates + rows that the sample left out."""
    duplicates: int
    """Rows whose conversation is an exact copy of an earlier row's: removed with deduplicate, otherwise kept."""
    deduplicated: bool
    quarantined: int
    """Records put aside in quarantine.jsonl."""
    characters: int
    """Characters of text in all turns of the pool."""
    sources: Mapping[str, int]
    """source -> rows, the largest first."""

    def __str__(self) -> str:
        copies = f"{self.duplicates:,} exact duplicates {'removed' if self.deduplicated else 'kept'}"
        return (
            f"{self.rows:,} rows from {len(self.sources):,} sources ({self.characters:,} characters): "
            f"{self.read:,} records read, {copies}, {self.quarantined:,} quarantined"
        )


def build_pool(source: PoolSource, folder: Path, progress: Progress | None = None) -> PoolSummary:
    """Read a source into `folder`: rows.arrow, and quarantine.jsonl if rows were put aside. Only ids stay in memory.

    The order: slice of the records, format, bad rows, exact duplicates, sample. A sample is drawn once the number of
    good rows is known: all are written first, then the chosen ones are copied, so that no text waits in memory.
    PoolError names the file and line of a bad row, and says so where no row is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / QUARANTINE_FILE).unlink(missing_ok=True)
    partial, intake = folder / f"{ROWS_FILE}.partial", Intake(source, folder / QUARANTINE_FILE)
    start, stop = source.row_slice()
    with RowWriter(partial) as writer:
        for record in islice(source.records(), start, stop):
            for row in intake.take(record):
                writer.write(row)
            if progress is not None and intake.read % PROGRESS_EVERY == 0:
                progress(intake.read)
    if progress is not None:
        progress(intake.read)
    intake.check()
    _finish(partial, folder / ROWS_FILE, source)
    return _summarise(folder, intake)


def _finish(partial: Path, target: Path, source: PoolSource) -> None:
    """The rows, or a sample of them, under their final name."""
    if source.sample is None:
        partial.replace(target)
        return
    size = open_table(partial).num_rows
    if source.sample > size:
        raise PoolError(
            f"pool {source.name}: pool.sample={source.sample:,} asks for more rows than the {size:,} there are"
        )
    rng = np.random.default_rng(source.sample_seed)
    chosen = np.sort(rng.choice(size, source.sample, replace=False, shuffle=False))
    sampled = target.with_suffix(".sampled")
    copy_rows(partial, sampled, chosen)
    sampled.replace(target)
    partial.unlink()


def _summarise(folder: Path, intake: Intake) -> PoolSummary:
    table = open_table(folder / ROWS_FILE)
    counts = {item["values"]: item["counts"] for item in table["source"].value_counts().to_pylist()}
    return PoolSummary(
        rows=table.num_rows,
        read=intake.read,
        duplicates=intake.duplicates,
        deduplicated=intake.source.deduplicate,
        quarantined=intake.quarantined,
        characters=pc.sum(table["characters"]).as_py(),
        sources=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


class Pool:
    """The rows of a built pool. Arrays have one entry a row, in its order; text stays on disk until asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._columns = {name: table[name] for name in table.column_names}

    @classmethod
    def open(cls, folder: Path) -> Pool:
        path = folder / ROWS_FILE
        if not path.is_file():
            raise PoolError(f"{folder} holds no pool: there is no {ROWS_FILE}")
        return cls(open_table(path))

    def __len__(self) -> int:
        count: int = self._table.num_rows
        return count

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) str, all different."""
        return self._strings("id")

    @cached_property
    def sources(self) -> np.ndarray:
        """(n,) str, where each row came from."""
        return self._strings("source")

    @property
    def characters(self) -> np.ndarray:
        """(n,) int64, characters of text in all turns of each row."""
        return np.asarray(self._columns["characters"].to_numpy())

    @cached_property
    def scores(self) -> Mapping[str, np.ndarray]:
        """name -> (n,) float64, NaN where a row has no such score."""
        rows, pairs = self._flat("scores")
        names = pc.struct_field(pairs, 0).dictionary_encode()
        codes, values = names.indices.to_numpy(), pc.struct_field(pairs, 1).to_numpy()
        scores = {}
        for code, name in enumerate(names.dictionary.to_pylist()):
            scores[name] = np.full(len(self), np.nan)
            scores[name][rows[codes == code]] = values[codes == code]
        return dict(sorted(scores.items()))

    def tags(self) -> tuple[csr_array, list[str]] | None:
        """(n, L) 0/1 float64 and the L tags in alphabetical order; None where no row has a tag."""
        rows, values = self._flat("tags")
        if len(values) == 0:
            return None
        names = values.dictionary_encode()
        found = np.array(names.dictionary.to_pylist(), dtype=object)
        order = np.argsort(found)
        columns = np.argsort(order)[names.indices.to_numpy()]
        matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(self), len(found)))
        return matrix, found[order].tolist()

    def row(self, index: int) -> Row:
        """Row `index`, 0 <= index < n."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a pool of {len(self)} rows")
        value = {name: column[int(index)].as_py() for name, column in self._columns.items() if name != "characters"}
        return Row(
            id=value["id"],
            source=value["source"],
            messages=json.loads(value["messages"]),
            tags=tuple(value["tags"]),
            scores=dict(value["scores"]),
            extra=json.loads(value["extra"]),
        )

    def rows(self, indices: Iterable[int]) -> Iterator[Row]:
        """The rows at these positions, in this order, one at a time."""
        return (self.row(index) for index in indices)

    def part(self, indices: np.ndarray) -> Pool:
        """The rows (k,) at these positions, in this order, as a pool in memory."""
        return Pool(self._table.take(pa.array(indices)))

    def conversations(self, start: int, stop: int) -> list[list[Message]]:
        """The messages of rows start to stop (exclusive) alone: the quick way through a pool."""
        return [json.loads(text) for text in self._columns["messages"].slice(start, stop - start).to_pylist()]

    def column(self, name: str) -> np.ndarray:
        """(n,) object: "id", "source", or a column of `extra`, None where a row lacks it; PoolError where all do."""
        if name in ("id", "source"):
            return self._strings(name).astype(object)
        values, known = np.full(len(self), None, dtype=object), {"id", "source"}
        for index, text in enumerate(self._columns["extra"]):
            extra = json.loads(text.as_py())
            known.update(extra)
            values[index] = extra.get(name)
        if name not in known:
            raise PoolError(f"the pool has no column {name!r}; it has {', '.join(sorted(known))}")
        return values

    def own_ids(self) -> np.ndarray | None:
        """(n,) str, the rows' own column `id` as their file has it; None where a row has none or two have the same."""
        values = [json.loads(text.as_py()).get("id") for text in self._columns["extra"]]
        distinct = {str(value) for value in values if value is not None}
        return np.array([str(value) for value in values]) if len(distinct) == len(self) else None

    def _strings(self, name: str) -> np.ndarray:
        return np.asarray(self._columns[name].to_numpy(), dtype=str)

    def _flat(self, name: str) -> tuple[np.ndarray, pa.Array]:
        """All items of a list or map column, and for each the row (items,) int64 that has it."""
        column = self._columns[name].combine_chunks()
        rows = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
        return rows, column.values
