"""A pool's rows to one array of embeddings, in shards that survive a killed process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import EncodedBlock, Encoder, OpenEncoder, Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.runtime import Runtime, prepare_with
from siftune.selection.features.shards import Block
from siftune.selection.features.usage import total_usage
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool


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
    usage: Mapping[str, float] = field(default_factory=dict)
    """What an endpoint counted: requests, tokens, money."""


def embed(
    pool: Pool,
    encoder: Encoder,
    reference: ModelRef | None,
    folder: Path,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> EmbeddingSummary:
    """Write folder/embeddings.npy, (n, d) float32 or as the encoder stores them: row i belongs to pool row i.

    What an interrupted call wrote to the folder is kept, after its checksums are verified (see `map_rows`).
    """
    start = time.perf_counter()
    shard_rows = getattr(encoder, "shard_rows", None)
    notes = map_rows(pool, EncodeJob(encoder, reference), folder, runtime, progress, shard_rows=shard_rows)
    tokens, positions = notes.sum("tokens"), notes.sum("positions")
    return EmbeddingSummary(
        rows=len(pool),
        dimension=int(np.load(folder / "embeddings.npy", mmap_mode="r").shape[1]),
        truncated=notes.sum("truncated"),
        tokens=tokens,
        padding_share=1 - tokens / positions if positions else 0.0,
        seconds=time.perf_counter() - start,
        usage=total_usage(notes),
    )


@dataclass(frozen=True)
class EncodeJob:
    """The encoding of rows."""

    names: ClassVar[tuple[str, ...]] = ("embeddings",)

    encoder: Encoder
    reference: ModelRef | None
    """Where the encoder's base model lies, if it has one."""

    def open(self) -> OpenEncodeJob:
        """Load the encoder."""
        storage = np.dtype(getattr(self.encoder, "storage", "float32"))
        return OpenEncodeJob(self.encoder.open(self.reference), storage)


class OpenEncodeJob:
    """A loaded encoder, and the number format in which its vectors are stored."""

    def __init__(self, encoder: OpenEncoder, storage: np.dtype[Any]) -> None:
        self._encoder = encoder
        self._storage = storage

    def prepare(self, rows: Sequence[Row]) -> Any:
        """The rows' tokens, where the encoder can make them without its model."""
        return prepare_with(self._encoder, rows)

    def compute(self, rows: Sequence[Row], prepared: Any, progress: Progress) -> Block:
        """The rows' vectors."""
        two_staged = getattr(self._encoder, "encode_prepared", None)
        block: EncodedBlock = (
            self._encoder.encode(rows, progress) if two_staged is None else two_staged(prepared, progress)
        )
        counts = {"truncated": block.truncated, "tokens": block.tokens, "positions": block.positions}
        return Block({"embeddings": self._stored(block.vectors, rows)}, counts | {"usage": dict(block.usage)})

    def _stored(self, vectors: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        # A value beyond the format's range becomes infinite; it is found below.
        with np.errstate(over="ignore"):
            stored = vectors.astype(self._storage)
        wrong = np.flatnonzero(~np.isfinite(stored).all(axis=1))
        if len(wrong):
            row = rows[int(wrong[0])]
            too_large = np.isfinite(vectors[wrong]).all()
            remedy = "use encoder.storage=float32" if too_large else "try the encoder with dtype=float32"
            raise ValueError(
                f"row {row.id} ({row.source}) and {len(wrong) - 1} more of its shard have vectors that {self._storage} "
                f"does not hold (infinite or not a number): {remedy}"
            )
        return stored
