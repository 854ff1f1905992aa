"""What came out of a refinement loop, round by round, as arrays and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from siftune.selection.pool.store import Pool

Compare = Literal["log_ratio", "difference"]


@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """One round: what was drawn by which weights, and what scoring the drawn rows said."""

    number: int
    """From 1."""
    rows: np.ndarray
    """(k,) int64 rows of the pool that the round added, in the order drawn."""
    weights: np.ndarray | None = None
    """(K,) float64 weights of the clusters that it drew by; None where there are no clusters (DiverseEvol)."""
    means: np.ndarray | None = None
    """(K,) float64 mean S of each cluster's drawn rows, NaN where none has an S; None: the round was not scored."""
    values: np.ndarray | None = None
    """(k,) float64 S of each of `rows`, NaN without one; None: the round was not scored."""
    unscored: Mapping[str, str] = field(default_factory=dict)
    """row id -> why it has no S."""
    gains: np.ndarray | None = None
    """(k,) float64 distance of each of `rows` to the rows picked before it, NaN where there were none (DiverseEvol)."""

    def __post_init__(self) -> None:
        for name in ("values", "gains"):
            array = getattr(self, name)
            if array is not None and len(array) != len(self.rows):
                raise ValueError(f"round {self.number}: {len(array)} {name} for {len(self.rows)} rows")

    def to_json(self) -> dict[str, Any]:
        """NaN as null."""
        arrays = {name: _listed(getattr(self, name)) for name in ("rows", "weights", "means", "values", "gains")}
        return {"number": self.number, **arrays, "unscored": dict(self.unscored)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RoundReport:
        floats = {name: _floats(value[name]) for name in ("weights", "means", "values", "gains")}
        rows = np.array(value["rows"], dtype=np.int64)
        return cls(number=value["number"], rows=rows, unscored=value["unscored"], **floats)


@dataclass(frozen=True, kw_only=True)
class RefinementReport:
    """The rounds of a loop so far. Of a loop without clusters (DiverseEvol) all below `size` is None."""

    rounds: tuple[RoundReport, ...]
    size: int
    """n, rows of the pool."""
    labels: np.ndarray | None = None
    """(n,) int64 cluster 0..K-1 of each row of the pool; -1: the row could not be picked."""
    names: tuple[str, ...] | None = None
    """(K,) what the clusters are called: values of a column, or "0", "1" ... of k-means."""
    weights: np.ndarray | None = None
    """(K,) float64 after the last scored round."""
    score: str | None = None
    """What S compares, e.g. "perplexity", "rating", "reward"."""
    compare: Compare | None = None
    """log_ratio: S = log(score of the reply) - log(score of the pool's answer). difference: S = the pool's - the
    reply's."""
    weighting: str | None = None
    """How the means became weights."""
    column: str | None = None
    """The column whose values are the clusters; None: the method's own clusters."""

    def __post_init__(self) -> None:
        if self.labels is None:
            return
        if self.names is None or self.weights is None or self.score is None or self.compare is None:
            raise ValueError("a refinement by clusters is reported with names, weights, score and compare")
        if len(self.labels) != self.size:
            raise ValueError(f"{len(self.labels)} labels for a pool of {self.size} rows")
        found = [self.weights, *(found for entry in self.rounds for found in (entry.weights, entry.means))]
        wrong = {len(array) for array in found if array is not None} - {len(self.names)}
        if wrong or any(entry.weights is None for entry in self.rounds):
            raise ValueError(f"weights and means of every round must be of the {len(self.names)} clusters")

    @property
    def clusters(self) -> int:
        """K; 0 for a loop without clusters."""
        return 0 if self.names is None else len(self.names)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(K,) int64 rows of each cluster that could be picked."""
        return self._count(np.arange(self.size))

    @property
    def picks(self) -> np.ndarray:
        """(k,) int64 all rows picked, in order."""
        return np.concatenate([entry.rows for entry in self.rounds])

    def drawn(self, entry: RoundReport) -> np.ndarray:
        """(K,) int64 rows of each cluster that a round drew."""
        return self._count(entry.rows)

    def scored(self, entry: RoundReport) -> np.ndarray:
        """(K,) int64 rows of each cluster that have an S in a round."""
        return self._count(entry.rows[:0] if entry.values is None else entry.rows[np.isfinite(entry.values)])

    def left(self, number: int) -> np.ndarray:
        """(K,) int64 rows of each cluster that no round before `number` took."""
        return self.sizes - sum((self.drawn(entry) for entry in self.rounds if entry.number < number), np.int64(0))

    def history(self) -> tuple[np.ndarray, list[str]]:
        """(points, K) float64 weights over the rounds, the new ones after the last last, and what to call them."""
        assert self.weights is not None
        weights = [entry.weights for entry in self.rounds if entry.weights is not None]
        names = [f"round {entry.number}" for entry in self.rounds]
        if self.rounds[-1].means is not None:
            weights, names = [*weights, self.weights], [*names, f"after round {self.rounds[-1].number}"]
        return np.array(weights), names

    def relative(self) -> np.ndarray:
        """(points, K) the weights of `history` against those of the first round (1 where a cluster had none)."""
        weights, _ = self.history()
        return np.divide(weights, weights[0], out=np.ones_like(weights), where=weights[0] > 0)

    def cluster(self, index: int) -> str:
        """What a cluster is called in a sentence."""
        assert self.names is not None
        return f"{self.column} {self.names[index]!r}" if self.column else f"cluster {self.names[index]}"

    def _count(self, rows: np.ndarray) -> np.ndarray:
        assert self.labels is not None
        labels = self.labels[rows]
        return np.bincount(labels[labels >= 0], minlength=self.clusters)

    def to_json(self) -> dict[str, Any]:
        """Everything, NaN as null."""
        return {
            "rounds": [entry.to_json() for entry in self.rounds],
            "size": self.size,
            "labels": _listed(self.labels),
            "names": None if self.names is None else list(self.names),
            "weights": _listed(self.weights),
            **{name: getattr(self, name) for name in ("score", "compare", "weighting", "column")},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RefinementReport:
        return cls(
            rounds=tuple(RoundReport.from_json(entry) for entry in value["rounds"]),
            size=value["size"],
            labels=None if value["labels"] is None else np.array(value["labels"], dtype=np.int64),
            names=None if value["names"] is None else tuple(value["names"]),
            weights=_floats(value["weights"]),
            **{name: value[name] for name in ("score", "compare", "weighting", "column")},
        )


@dataclass(frozen=True)
class RoundReplies:
    """What the model of a round answered, for the examples of a report."""

    pool: Pool
    """The rows with the model's replies as their final turns."""
    rows: np.ndarray
    """(m,) int64, the row of the whole pool that each of them is."""

    def reply(self, row: int) -> str | None:
        """The reply to a row of the whole pool; None where there is none."""
        found = np.flatnonzero(self.rows == row)
        return self.pool.row(int(found[0])).messages[-1]["content"] if len(found) else None


def _listed(array: np.ndarray | None) -> list[Any] | None:
    if array is None:
        return None
    values: Sequence[Any] = array.tolist()
    return [None if value != value else value for value in values]


def _floats(values: Sequence[float | None] | None) -> np.ndarray | None:
    return None if values is None else np.array([np.nan if value is None else value for value in values], dtype=float)
