"""The typed config of `siftune measure`, and the combinations that it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from siftune.finetune.model_sources import Model
from siftune.runs.config import PlanFormat
from siftune.selection.features.arrays import ArraysConfig
from siftune.selection.features.encoders.encoder import Encoder
from siftune.selection.features.runtimes.runtime import LocalRuntime, Runtime
from siftune.selection.measures.catalogue import MEASURES
from siftune.selection.measures.settings import MeasureSettings
from siftune.selection.pool.source import PoolSource


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What `siftune measure` needs."""

    pool: PoolSource
    """The rows that are measured, or that the subsets are of (group `pool`)."""
    model: Model
    """The model of encoders that take a language model's hidden states (group `model`)."""
    encoder: Encoder
    """What turns rows into embeddings (group `encoder`)."""
    runtime: Runtime = field(default_factory=LocalRuntime)
    """Who computes the embeddings (group `runtime`)."""
    arrays: ArraysConfig = field(default_factory=ArraysConfig)
    """Files of precomputed embeddings: `embeddings` of the pool, `reference_embeddings` of the reference."""
    reference: PoolSource | None = None
    """The pool that densities and coverage refer to (NovelSum, facility location, partition entropy); null: `pool`."""
    subsets: Mapping[str, Path] = field(default_factory=dict)
    """Name -> folder of a subset, or file of ids (one a line, or JSONL with a key id); empty: the whole pool."""
    runs: str | None = None
    """Measure the subsets of this group's recorded runs too; the pool is then the one that they were picked from."""
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    """Which measures, and their hyperparameters."""
    format: PlanFormat = "table"
    """A table for the terminal, Markdown, or JSON."""
    store: Path = Path("siftune-store")
    """Folder of the artifacts; share it with runs, so that embeddings are computed once."""
    output: Path | None = None
    """Folder for measures.json, measures.md and measures.png; null: <store>/measures."""

    def __post_init__(self) -> None:
        others = sorted(set(self.arrays.files()) - {"arrays.embeddings", "arrays.reference_embeddings"})
        if others:
            raise ValueError(f"{others[0]} is not read by any measure: embeddings and reference_embeddings are")
        if self.reference is not None and self.arrays.reference_embeddings is not None:
            raise ValueError("reference and arrays.reference_embeddings both say what the reference is: give one")
        if self.reference is not None and self.arrays.embeddings is not None:
            raise ValueError(
                "reference is a pool to be encoded and arrays.embeddings are given: give arrays.reference_embeddings "
                "from the same encoder instead of reference"
            )
        if self.arrays.reference_embeddings is not None and self.arrays.embeddings is None:
            raise ValueError(
                "arrays.reference_embeddings is given and arrays.embeddings is not: they are compared, so both must "
                "come from one encoder"
            )

    @property
    def folder(self) -> Path:
        """Where the report is written."""
        return self.output or self.store / "measures"

    @property
    def reads_embeddings(self) -> bool:
        """Whether any measure that is asked for is of embeddings."""
        return any(MEASURES[name].reads != "texts" for name in self.measures.names or MEASURES)
