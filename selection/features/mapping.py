"""A pool's rows to arrays, shard by shard: what every feature that a model computes has in common."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.runtimes.runtime import Job, LocalRuntime, Runtime, Task
from siftune.selection.features.shards import Notes, ShardedArrays, layout_of
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

SHARD_ROWS = 512
"""Rows that are sorted by length and batched together, and at most lost when the process is killed."""


def map_rows(
    pool: Pool,
    job: Job,
    folder: Path,
    runtime: Runtime | None = None,
    progress: Progress = lambda rows: None,
    *,
    shard_rows: int | None = None,
) -> Notes:
    """Write folder/<name>.npy for every array of the job, row i of which belongs to pool row i; returns the notes.

    Shards of `shard_rows` rows (null: SHARD_ROWS) that an earlier call wrote are kept, after their checksums are
    verified; the model is not loaded where none is missing. The bytes are those that an undisturbed call would have
    written, since each shard is computed by itself. `progress` is told the rows done.
    """
    arrays = ShardedArrays(folder, job.names, len(pool), shard_rows or SHARD_ROWS)
    missing = []
    for shard in range(len(arrays)):
        if arrays.finished(shard):
            progress(len(arrays.rows(shard)))
        else:
            missing.append(Task(shard, partial(_read, pool, arrays.rows(shard))))
    elsewhere = {task.shard for task in missing}
    # Closed at an error too, so that no worker goes on.
    with closing((runtime or LocalRuntime()).blocks(job, missing, progress)) as blocks:
        for shard, block in blocks:
            arrays.write(shard, block)
            elsewhere.remove(shard)
    for shard in sorted(elsewhere):
        arrays.wait_for(shard)
        progress(len(arrays.rows(shard)))
    return arrays.notes()


def is_intact(folder: Path, rows: int) -> bool:
    """Whether a finished feature of so many rows still has the bytes that were written; damage is logged."""
    layout = layout_of(folder)
    if layout is None:
        return False
    arrays = ShardedArrays(folder, layout[0], rows, layout[1])
    return all(arrays.finished(shard) for shard in range(len(arrays)))


def _read(pool: Pool, rows: range) -> list[Row]:
    return list(pool.rows(rows))
