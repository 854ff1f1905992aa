"""Rows far from one another: k-center greedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from siftune.selection.interface import Budget, BudgetError, Features, Selection
from siftune.selection.kernels.budget import purse
from siftune.selection.kernels.farthest import farthest_first, farthest_next
from siftune.selection.kernels.validation import require_embeddings, require_picked
from siftune.selection.kernels.vectors import matrix


@dataclass(frozen=True, kw_only=True)
class KCenterGreedy:
    """Farthest-first traversal: the row farthest from all picks, again and again (Sener et al. 2018, arXiv 1708.00489).

    Picks i = argmax over the rows left of min over picks j of |x_i - x_j|^2, embeddings as given, distances in float64,
    ties to the lower row; the first row is drawn at random unless `first` names it. The largest distance of a row to
    its nearest pick is then at most twice the smallest possible. The gain of a pick is its squared distance to the
    nearest pick before it (NaN for the first). A row that no longer fits a token budget is left out.

    Exact, and independent of threads and blocks. Time: the plain form takes n k d multiplications; here only rows that
    may be the next pick are brought up to date, and most of what is left is done in 8-bit products. Memory: float32
    embeddings, n d bytes, O(k d).

    `extend` goes on from rows that are taken already, at other embeddings if need be: with those of the model trained
    so far it is the sampling of DiverseEvol (Wu et al. 2023, arXiv 2311.08182).
    """

    requires: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    paper: ClassVar[str] = "Sener et al. 2018, arXiv 1708.00489"
    cost: ClassVar[str] = "one forward per pool row"

    first: int | None = None
    """Row that is picked first; None: one at random."""

    def __post_init__(self) -> None:
        if self.first is not None and self.first < 0:
            raise ValueError(f"first={self.first} must be a row of the pool: 0 or larger")

    def select(self, features: Features, budget: Budget, rng: np.random.Generator) -> Selection:
        """Pick from `features.embeddings`; ValueError names rows with NaN or infinite values."""
        allowance = purse(features, budget)
        points = matrix(require_embeddings(features))
        fitting = np.flatnonzero(allowance.costs <= allowance.left)
        first = int(fitting[rng.integers(len(fitting))]) if self.first is None else self.first
        if first >= features.size:
            raise ValueError(f"first={first} is not a row of the pool, which has {features.size:,}")
        if allowance.costs[first] > allowance.left:
            raise BudgetError(f"first={first} has {allowance.costs[first]:,} tokens: more than the whole budget")
        picks, distances = farthest_first(points, first, allowance)
        return Selection(picks, np.where(np.isfinite(distances), distances, np.nan))

    def extend(self, features: Features, picked: np.ndarray, budget: Budget, rng: np.random.Generator) -> Selection:
        """`budget` more rows besides (p,) int64 rows `picked`, which count as picks from the start; only they are new.

        No chance is involved once there is a pick; without any it is `select`.
        """
        if not len(picked):
            return self.select(features, budget, rng)
        taken = require_picked(picked, features.size)
        allowance = purse(features, budget, taken)
        points = matrix(require_embeddings(features))
        return Selection(*farthest_next(points, np.asarray(picked, dtype=np.int64), allowance))
