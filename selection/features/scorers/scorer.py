"""What every scorer has in common: rows go in, one number a row and score comes out, or why there is none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.pool.rows import Row


@dataclass(frozen=True)
class ScoredBlock:
    """The scores of some rows, and what they cost."""

    values: np.ndarray
    """(n, s) float64: row i belongs to row i of what was given, column j to score j of `provides`; NaN for no value."""
    reasons: Mapping[int, str]
    """Row of the block -> why a value of it is missing; every row with a NaN is in it."""
    truncated: int
    """Rows that were longer than the maximum length and cut on the right."""
    tokens: int
    """Tokens computed, padding not counted; a row that takes two passes counts twice."""
    positions: int
    """Tokens computed, padding counted."""
    usage: Mapping[str, float] = field(default_factory=dict)
    """What an endpoint counted: requests, prompt_tokens, completion_tokens, usd."""


class OpenScorer(Protocol):
    """A scorer whose model is loaded.

    One that also has `prepare(rows)`, which needs no model, and `score_prepared(prepared, progress)` has the rows of
    one shard prepared in a second thread while it scores the shard before.
    """

    provides: tuple[str, ...]

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """The rows' scores, in their order; `progress` is told now and then how many more rows are done."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A scorer's config: a frozen dataclass that a conf/scorer/*.yaml names."""

    @property
    def name(self) -> str:
        """Shown in folder names and tables."""
        ...

    @property
    def model(self) -> Model | None:
        """The model that scores; None for a scorer that needs none or brings its own."""
        ...

    @property
    def provides(self) -> tuple[str, ...]:
        """Names of the scores it computes."""
        ...

    def only(self, names: Collection[str]) -> Scorer:
        """The scorer that computes no more than it must for these of its scores."""
        ...

    def inputs(self) -> dict[str, str]:
        """Digests of what it reads besides its model, for the fingerprint."""
        ...

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Load it; `reference` says where its model lies."""
        ...


@runtime_checkable
class HasModels(Protocol):
    """A scorer's config with several models; its `model` is None."""

    @property
    def models(self) -> Mapping[str, Model]:
        """The models by their places in the config."""
        ...

    def located(self, references: Mapping[str, ModelRef]) -> Scorer:
        """The scorer that knows where its models lie, and is opened without a reference."""
        ...
