"""A pool's rows to one array of embeddings, in shards that survive a killed process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftune.selection.features.encoder import OpenEncoder, Progress
from siftune.selection.features.shards import ShardedArray
from siftune.selection.pool.store import Pool

SHARD_ROWS = 512
"""Rows that are sorted by length and batched together, and at most lost when the process is killed."""


@dataclass(frozen=True)
class EmbeddingSummary:
    """What encoding a pool came to."""

    rows: int
    dimension: int
    truncated: int
    """Rows that were longer than the encoder's maximum and cut."""
    tokens: int
    """Tokens encoded, padding not counted."""
    padding_share: float
    """Share of the positions computed that were padding."""
    seconds: float
    """Of this call; shards found from an earlier one cost next to nothing."""


def embed(pool: Pool, encoder: OpenEncoder, folder: Path, progress: Progress = lambda rows: None) -> EmbeddingSummary:
    """Write folder/embeddings.npy, (n, d) float32: row i belongs to pool row i. `progress` is told the rows done.

    What an interrupted call wrote to the folder is kept, after its checksums are verified; the bytes are those that an
    undisturbed call would have written, since each shard is batched by itself.
    """
    start = time.perf_counter()
    array = ShardedArray(folder, "embeddings", (len(pool), encoder.dimension), SHARD_ROWS)
    notes = []
    for shard in range(len(array)):
        note = array.finished(shard)
        if note is None:
            note = _encode_shard(pool, encoder, array, shard, progress)
        else:
            progress(len(array.rows(shard)))
        notes.append(note)
    tokens, positions = _sum(notes, "tokens"), _sum(notes, "positions")
    return EmbeddingSummary(
        rows=len(pool),
        dimension=encoder.dimension,
        truncated=_sum(notes, "truncated"),
        tokens=tokens,
        padding_share=1 - tokens / positions if positions else 0.0,
        seconds=time.perf_counter() - start,
    )


def _encode_shard(
    pool: Pool, encoder: OpenEncoder, array: ShardedArray, shard: int, progress: Progress
) -> dict[str, int]:
    block = encoder.encode(list(pool.rows(array.rows(shard))), progress)
    note = {"truncated": block.truncated, "tokens": block.tokens, "positions": block.positions}
    array.write(shard, block.vectors, note)
    return note


def _sum(notes: list[dict[str, Any]], key: str) -> int:
    return sum(int(note[key]) for note in notes)
