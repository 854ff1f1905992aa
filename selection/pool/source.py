"""What a pool can be read from: the options that every source shares, and the raw records that it yields."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

OnBadRow = Literal["error", "quarantine"]
TurnReduction = Literal["mean", "sum"]
Format = Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion"]


class PoolError(ValueError):
    """A pool cannot be read as asked; the message names the file, the row and the remedy."""


@dataclass(frozen=True, slots=True)
class Record:
    """One raw row and its place."""

    value: Any
    """The row as the file has it: a dict, or whatever else was there (then it is a bad row)."""
    file: str
    line: int
    """1-based: the line of a text file, the row of a Parquet or Arrow file or of a hub data set."""
    problem: str | None = None
    """Why the row could not be parsed at all; `value` is then its raw text."""


@dataclass(frozen=True, kw_only=True)
class PoolSource(ABC):
    """Something that can be read into a pool.

    A subclass adds its own fields and says where its records come from; `build_pool` does the rest: the slice, the
    format of each row, bad rows, exact duplicates and the sample, in this order.
    """

    name: str = field(metadata={"identity": False})
    """What the pool is called in folders and reports."""
    format: Format = "auto"
    """How a record is to be read as a conversation; "auto" decides for each record by its keys."""
    source: str = "unknown"
    """The source of the rows that name none."""
    source_column: str | None = None
    """The column that names a row's source; None takes `source` or `dataset`, whichever a row has."""
    deduplicate: bool = False
    """Keep the first of rows with identical conversations; otherwise copies stay, their ids ending in -2, -3 ..."""
    on_bad_row: OnBadRow = "error"
    """What to do with a row that is no conversation: stop, or put it aside in quarantine.jsonl with the reason."""
    rows: str | None = None
    """A slice "start:stop" of the records as they come, e.g. "0:16"; reading stops there."""
    sample: int | None = None
    """Keep this many rows, drawn uniformly without replacement from the good rows; they stay in order."""
    sample_seed: int = 0
    """Seed of the sample."""
    turn_reduction: TurnReduction = "mean"
    """How the score "deita" comes from quality x complexity of the turns: DEITA adds them up, MIG averages."""

    def __post_init__(self) -> None:
        self.row_slice()
        if self.sample is not None and self.sample < 1:
            raise ValueError(f"pool.sample={self.sample} must be at least 1, or null for every row")
        if self.sample_seed < 0:
            raise ValueError(f"pool.sample_seed={self.sample_seed} must not be negative")

    def row_slice(self) -> tuple[int, int | None]:
        """First record and the one after the last (None: to the end)."""
        if self.rows is None:
            return 0, None
        match = re.fullmatch(r"(\d*):(\d*)", self.rows)
        if match is None:
            raise ValueError(f'pool.rows={self.rows!r} must be a slice such as "0:16", "100:" or null for every row')
        start, stop = int(match[1] or 0), int(match[2]) if match[2] else None
        if stop is not None and stop <= start:
            raise ValueError(f"pool.rows={self.rows!r} holds no row: the stop must lie after the start")
        return start, stop

    @abstractmethod
    def inputs(self) -> dict[str, str]:
        """Content digests of what is read (empty where the rows are generated); they enter the fingerprint."""

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """The raw records with their places, in an order that never changes."""
