"""Rows by their length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.kernels.budget import fill
from siftune.selection.kernels.validation import require_lengths


@dataclass(frozen=True, kw_only=True)
class Longest:
    """Longest responses first (Zhao et al. 2024, arXiv 2402.04833).

    The length of a row is `features.num_response_tokens`, the tokens of its assistant turns, where that was computed,
    else `features.num_tokens`, the tokens of the whole conversation. Ties go to the lower row; the gain of a pick is
    its length. Under a token budget the order is filled greedily. O(n log n) time, O(n) memory.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"num_tokens"})
    paper: ClassVar[str] = "Zhao et al. 2024, arXiv 2402.04833"
    cost: ClassVar[str] = "tokenisation"

    def select(self, features: Features, budget: Budget, rng: np.random.Generator) -> Selection:
        """Pick by length, descending; `rng` is not used."""
        name = "num_tokens" if features.num_response_tokens is None else "num_response_tokens"
        lengths = require_lengths(getattr(features, name), features.size, name)
        picks = fill(np.argsort(-lengths, kind="stable"), features, budget)
        return Selection(picks, lengths[picks].astype(np.float64))
