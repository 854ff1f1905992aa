"""Rows on disk: one Arrow file of record batches, written as a stream and read through a memory map."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from siftune.selection.pool.rows import Row

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "source": pa.string(),
        "messages": pa.string(),  # JSON: the turns of different data sets share no schema
        "tags": pa.list_(pa.string()),
        "scores": pa.map_(pa.string(), pa.float64()),
        "extra": pa.string(),  # JSON
        "characters": pa.int64(),  # of all turns' text
    }
)
BATCH_ROWS = 4096
BATCH_CHARACTERS = 8_000_000
"""A batch is written when it has this many rows or characters: what building a pool keeps in memory."""


class RowWriter:
    """Appends rows to a file; a context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = pa.ipc.new_file(str(path), SCHEMA)
        self._pending: list[tuple[object, ...]] = []
        self._characters = 0

    def write(self, row: Row) -> None:
        characters = sum(len(message["content"]) for message in row.messages)
        messages, extra = (json.dumps(value, ensure_ascii=False) for value in (row.messages, dict(row.extra)))
        scores = list(row.scores.items())
        self._pending.append((row.id, row.source, messages, row.tags, scores, extra, characters))
        self._characters += len(messages) + len(extra)
        if len(self._pending) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            columns = zip(*self._pending, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self._pending, self._characters = [], 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def open_table(path: Path) -> pa.Table:
    """The rows of a file, as views into its memory map: opening reads the positions of the batches and nothing else."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def copy_rows(source: Path, target: Path, indices: np.ndarray) -> None:
    """Write the rows of these ascending positions (k,) to another file, batch by batch."""
    with pa.ipc.new_file(str(target), SCHEMA) as writer:
        for batch, positions in _positions(open_table(source).to_batches(), indices):
            writer.write_batch(batch.take(pa.array(positions)))


def _positions(batches: Iterable[pa.RecordBatch], indices: np.ndarray) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    start = 0
    for batch in batches:
        low, high = np.searchsorted(indices, [start, start + batch.num_rows])
        if high > low:
            yield batch, indices[low:high] - start
        start += batch.num_rows
