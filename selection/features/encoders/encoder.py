"""What every encoder has in common: rows go in, one float32 vector a row comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from siftune.finetune.model_sources import Model, ModelRef
from siftune.selection.pool.rows import Row

Text = Literal["conversation", "prompt", "response"]
"""Which part of a row is encoded: every turn; the turns before the final answer; the final answer alone."""


Pooling = Literal["position_weighted_mean", "mean", "last_token"]
"""How the hidden states of a row's tokens become one vector."""


Progress = Callable[[int], None]
"""Called with the number of rows done since the last call."""


@dataclass(frozen=True)
class EncodedBlock:
    """The vectors of some rows, and what they cost."""

    vectors: np.ndarray
    """(n, d) float32, row i of which belongs to row i of what was given; not normalised."""
    truncated: int
    """Rows that were longer than the maximum length and cut on the right."""
    tokens: int
    """Tokens encoded, padding not counted."""
    positions: int
    """Tokens encoded, padding counted."""
    usage: Mapping[str, float] = field(default_factory=dict)
    """What an endpoint counted: requests, prompt_tokens, completion_tokens, usd."""


Storage = Literal["float32", "float16"]
"""Number format in which vectors are stored."""


class OpenEncoder(Protocol):
    """An encoder whose model is loaded.

    One that also has `prepare(rows)`, which needs no model, and `encode_prepared(prepared, progress)` has the rows of
    one shard prepared in a second thread while it encodes the shard before.
    """

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        ...

    def encode(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> EncodedBlock:
        """The rows' vectors, in their order; `progress` is told after each batch how many rows it had."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """An encoder's config: a frozen dataclass that a conf/encoder/*.yaml names."""

    @property
    def name(self) -> str:
        """Shown in folder names and tables."""
        ...

    @property
    def model(self) -> Model | None:
        """The base model whose hidden states are pooled; None for an encoder that brings its own model."""
        ...

    def inputs(self) -> dict[str, str]:
        """Digests of what it reads besides the base model, for the fingerprint."""
        ...

    def open(self, reference: ModelRef | None) -> OpenEncoder:
        """Load it; `reference` says where the base model lies."""
        ...
