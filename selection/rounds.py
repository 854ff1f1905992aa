"""Selectors that pick in rounds, with a model trained between them: out of weighted clusters, or besides earlier picks.

Both are selectors of their own, whose `select` is the first round by itself.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from siftune.selection.interface import Budget, Features, Selection, Selector


@runtime_checkable
class DrawsByCluster(Selector, Protocol):
    """Draws from clusters, whose weights may change from round to round (Diversify and Conquer)."""

    def partition(self, features: Features, rng: np.random.Generator) -> np.ndarray:
        """(n,) int64 cluster of every row, 0 to K - 1."""
        ...

    def draw(
        self,
        features: Features,
        labels: np.ndarray,
        weights: np.ndarray,
        taken: np.ndarray,
        budget: Budget,
        rng: np.random.Generator,
    ) -> Selection:
        """Pick exactly the budget (BudgetError otherwise) out of the rows that are not taken.

        Clusters `labels` (n,) int64 give rows in proportion to (K,) float64 `weights` of at least 0, which need not sum
        to 1; what a cluster lacks the others give. `taken` (n,) bool. `select` is `draw` by the clusters' sizes.
        """
        ...


@runtime_checkable
class ExtendsPicks(Selector, Protocol):
    """Goes on from rows that are picked already, at embeddings that may be others than they were picked by."""

    def extend(self, features: Features, picked: np.ndarray, budget: Budget, rng: np.random.Generator) -> Selection:
        """Pick exactly the budget (BudgetError otherwise) besides (p,) int64 rows `picked`; the new picks alone.

        Those given count as picks from the start, in any order. Without any it is `select`.
        """
        ...
