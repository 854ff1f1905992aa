"""The typed config of `siftune compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from siftune.runs.config import PlanFormat


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Which two to compare, and how."""

    a: str
    """What the other is compared with: a label (all its seeds), GROUP/LABEL, a group of one experiment, a row's name in
    `siftune report`, a run's fingerprint (its first six digits or more), or its folder, also in another store."""
    b: str
    """What is compared with it, named in the same ways."""
    group: str | None = None
    """Look up labels in this group only, and the base model if it was measured like it; null: all groups."""
    seeds: tuple[int, ...] = ()
    """Only the runs of these seeds; empty: every seed that both have."""
    tasks: tuple[str, ...] = ()
    """Only these tasks of the suite; empty: all."""
    resamples: int = 10_000
    """Resamples of the questions for the intervals."""
    confidence: float = 0.95
    """Confidence of the intervals; 1 - confidence is the level below which a p is bold."""
    bootstrap_seed: int = 0
    """Seed of the resamples."""
    examples: int = 2
    """Questions shown in compare.md for every task and direction; flips.jsonl has all."""
    format: PlanFormat = "table"
    """A table for the terminal, Markdown, or JSON."""
    store: Path = Path("siftune-store")
    """Folder of the artifacts whose runs are compared."""
    output: Path | None = None
    """Folder for compare.md, compare.json and flips.jsonl; null: <store>/compare/<a>-vs-<b>-<digest of the runs>."""

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise ValueError(f"resamples={self.resamples} must be at least 100 for an interval")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence={self.confidence} must be at least 0.5 and below 1")
        if self.examples < 0:
            raise ValueError(f"examples={self.examples} must not be negative")
