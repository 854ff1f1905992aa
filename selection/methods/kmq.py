"""kMQ: quality-weighted draws from k-means clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.kernels import cluster_draw
from siftune.selection.kernels.budget import purse
from siftune.selection.kernels.shares import apportion
from siftune.selection.kernels.validation import name_rows, require_clusters, require_score

Weighting = Literal["score", "exp"]


@dataclass(frozen=True, kw_only=True)
class KMQ:
    """Rows drawn from every k-means cluster by their quality (Yu et al. 2024, arXiv 2409.11378, kMQ).

    k-means on the embeddings as given; cluster j gives b_j = |X_j| / n * b rows, drawn with probability
    p(x | j) = q(x) / sum_{y in X_j} q(y), where q is the score (`score`) or its exponential (`exp`). Shares are rounded
    to the exact budget by largest remainder, and what a cluster lacks is shared among those that have rows left, so
    K may exceed b. In a cluster whose q are all 0 every row is as likely; otherwise rows with q = 0 come last. Under a
    token budget rows are dealt out in proportion to cluster sizes and filled greedily. The gain of a pick is its score.

    Time: that of k-means + O(n log n); memory O(n) and a block of the embeddings.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"embeddings", "scores"})
    paper: ClassVar[str] = "Yu et al. 2024, arXiv 2409.11378"
    cost: ClassVar[str] = "one forward per pool row, and those of the quality score"

    num_clusters: int
    """K. The paper tries 64 to 8,192; the authors' configs have 1,024. With fewer distinct rows, each is a cluster."""
    score: str = "deita"
    """The quality q, by name. Not negative where weighting=score."""
    replacement: bool = False
    """Draw with replacement, as the paper prints it: of b_j draws a row drawn twice counts once, and the rows that are
    then missing are drawn without replacement."""
    weighting: Weighting = "score"
    """`score` (the paper): q is the score; `exp` (the authors' code): its exponential, at any size of the score."""
    normalize: bool = False
    """Cluster unit rows instead of the embeddings as given (then held in memory)."""
    restarts: int = 1
    """k-means runs, of which the one of least inertia is kept. The authors' code has 5."""

    def __post_init__(self) -> None:
        for name in ("num_clusters", "restarts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least 1")
        if self.weighting not in get_args(Weighting):
            raise ValueError(f"weighting={self.weighting!r} is not one of {', '.join(get_args(Weighting))}")

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores it reads."""
        return (self.score,)

    def select(self, features: Features, budget: Budget, rng: np.random.Generator) -> Selection:
        """Cluster the embeddings and draw; ValueError names rows with NaN, infinite or negative values."""
        # What is wrong with the scores or the budget is said before the clusters are computed.
        self._log_weights(require_score(features, self.score))
        purse(features, budget)
        labels = self.partition(features, rng)
        nobody = np.zeros(features.size, dtype=np.bool_)
        return self.draw(features, labels, np.bincount(labels), nobody, budget, rng)

    def partition(self, features: Features, rng: np.random.Generator) -> np.ndarray:
        """(n,) int64 cluster of every row, from 0."""
        clusters = cluster_draw.embedding_clusters(
            features, self.num_clusters, rng, normalize=self.normalize, restarts=self.restarts
        )
        return clusters.labels

    def draw(
        self,
        features: Features,
        labels: np.ndarray,
        weights: np.ndarray,
        taken: np.ndarray,
        budget: Budget,
        rng: np.random.Generator,
    ) -> Selection:
        """Draw from given clusters in proportion to (K,) `weights`, inside each by quality, rows not `taken` (n,) bool.

        What a cluster lacks the others give, in proportion to their weights. Reads the scores alone.
        """
        require_clusters(labels, weights, taken, features.size)
        scores = require_score(features, self.score)
        log_weights = self._log_weights(scores)
        allowed = purse(features, budget, taken)
        order = cluster_draw.weighted_order(log_weights, rng)
        if self.replacement:
            left = np.flatnonzero(~taken)
            expected = int(np.clip(np.ceil(allowed.left / max(1.0, allowed.costs[left].mean())), 1, len(left)))
            counts = apportion(weights, np.bincount(labels[left], minlength=len(weights)), expected)
            order = _drawn_first(order[~taken[order]], labels, log_weights, counts, rng)
        picks = cluster_draw.draw(labels, order, weights, features, budget, taken)
        return Selection(picks, scores[picks])

    def _log_weights(self, scores: np.ndarray) -> np.ndarray:
        if self.weighting == "exp":
            return scores
        negative = np.flatnonzero(scores < 0)
        if negative.size:
            raise ValueError(
                f"weighting=score draws in proportion to the score {self.score!r}, which is negative in rows "
                f"{name_rows(negative)}: use weighting=exp or a score of at least 0"
            )
        with np.errstate(divide="ignore"):
            return np.log(scores)


def _drawn_first(
    order: np.ndarray, labels: np.ndarray, log_weights: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """`order` with the rows in front that `counts` draws with replacement from each cluster hit, as they are hit.

    Drawn from are the rows that `order` has, which need not be all.
    """
    rows_left = np.sort(order)
    by_cluster = rows_left[np.argsort(labels[rows_left], kind="stable")]
    sizes = np.bincount(labels[rows_left], minlength=len(counts))
    first_hit = np.full(len(labels), len(labels), dtype=np.int64)
    for end, size, count in zip(np.cumsum(sizes), sizes, counts, strict=True):
        if not count:
            continue
        rows = by_cluster[end - size : end]
        largest = log_weights[rows].max()
        # A cluster of zero weights only is drawn from uniformly.
        weights = np.exp(log_weights[rows] - largest) if np.isfinite(largest) else np.ones(size)
        steps = np.cumsum(weights)
        hits = np.searchsorted(steps, rng.random(count) * steps[-1], side="right")
        hit, when = np.unique(np.minimum(hits, np.flatnonzero(weights)[-1]), return_index=True)
        first_hit[rows[hit]] = when
    return order[np.argsort(first_hit[order], kind="stable")]
