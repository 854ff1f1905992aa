"""A pool's rows to one array a score, in shards that survive a killed process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.mapping import map_rows
from siftune.selection.features.runtimes.runtime import Runtime, prepare_with
from siftune.selection.features.scorers.scorer import OpenScorer, ScoredBlock, Scorer
from siftune.selection.features.shards import Block, Notes
from siftune.selection.features.usage import total_usage
from siftune.selection.files import write_whole
from siftune.selection.pool.rows import Row
from siftune.selection.pool.store import Pool

REASONS_FILE = "reasons.jsonl"


@dataclass(frozen=True)
class ScoringSummary:
    """What scoring a pool came to."""

    rows: int
    scores: tuple[str, ...]
    without_value: int
    """Rows that lack a score; reasons.jsonl has their ids and says why."""
    truncated: int
    """Rows that were longer than the scorer's maximum and cut."""
    tokens: int
    """Tokens computed, padding not counted."""
    padding_share: float
    """Share of the positions computed that were padding."""
    seconds: float
    """Of this call; shards found from an earlier one cost next to nothing."""
    usage: Mapping[str, float] = field(default_factory=dict)
    """What an endpoint counted: requests, tokens, money."""


def score(
    pool: Pool,
    scorer: Scorer,
    reference: ModelRef | None,
    folder: Path,
    progress: Progress = lambda rows: None,
    runtime: Runtime | None = None,
) -> ScoringSummary:
    """Write folder/<score>.npy, (n,) float64, NaN for no value, for every score; and reasons.jsonl.

    What an interrupted call wrote to the folder is kept, after its checksums are verified (see `map_rows`).
    """
    start = time.perf_counter()
    shard_rows = getattr(scorer, "shard_rows", None)
    notes = map_rows(pool, ScoreJob(scorer, reference), folder, runtime, progress, shard_rows=shard_rows)
    tokens, positions = notes.sum("tokens"), notes.sum("positions")
    return ScoringSummary(
        rows=len(pool),
        scores=tuple(scorer.provides),
        without_value=write_reasons(pool, folder, notes),
        truncated=notes.sum("truncated"),
        tokens=tokens,
        padding_share=1 - tokens / positions if positions else 0.0,
        seconds=time.perf_counter() - start,
        usage=total_usage(notes),
    )


@dataclass(frozen=True)
class ScoreJob:
    """The scoring of rows."""

    scorer: Scorer
    reference: ModelRef | None
    """Where the scorer's model lies, if it has one."""

    @property
    def names(self) -> tuple[str, ...]:
        """One array a score."""
        return tuple(self.scorer.provides)

    def open(self) -> OpenScoreJob:
        """Load the scorer."""
        return OpenScoreJob(self.scorer.open(self.reference))


class OpenScoreJob:
    """A loaded scorer."""

    def __init__(self, scorer: OpenScorer) -> None:
        self._scorer = scorer

    def prepare(self, rows: Sequence[Row]) -> Any:
        """The rows' tokens, where the scorer can make them without its model."""
        return prepare_with(self._scorer, rows)

    def compute(self, rows: Sequence[Row], prepared: Any, progress: Progress) -> Block:
        """The rows' scores, and why some have none."""
        two_staged = getattr(self._scorer, "score_prepared", None)
        block: ScoredBlock = (
            self._scorer.score(rows, progress) if two_staged is None else two_staged(prepared, progress)
        )
        missing = np.flatnonzero(np.isnan(block.values).any(axis=1)).tolist()
        assert missing == sorted(block.reasons), "every row without a value has a reason, and no other row"
        note = {
            "truncated": block.truncated,
            "tokens": block.tokens,
            "positions": block.positions,
            "reasons": [[row, block.reasons[row]] for row in missing],
            "usage": dict(block.usage),
        }
        values = np.asarray(block.values, dtype=np.float64)
        return Block(dict(zip(self._scorer.provides, values.T, strict=True)), note)


def write_reasons(pool: Pool, folder: Path, notes: Notes) -> int:
    """Write reasons.jsonl, a line {id, why} for every row that a shard's note has a reason for; returns their number.

    A note's `reasons` are [row of the shard, reason] pairs.
    """
    lines = []
    for shard, note in enumerate(notes):
        rows = notes.rows(shard)
        lines += [{"id": pool.row(rows[row]).id, "why": why} for row, why in note["reasons"]]
    write_whole(folder / REASONS_FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)
