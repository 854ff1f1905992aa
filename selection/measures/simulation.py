"""Sets whose diversity is known, because they are made for that: does a measure put them in order?

Of a scenario's sets, all with equally many rows, each has more of a single thing than the one before it. What that is
can be counted, and no measure is asked:

- copies: more distinct rows, in place of near-copies of others in the set;
- boilerplate: the same, but for near-copies of a few rows, each in all sets, that the pool repeats just as much;
- topics: rows of more topics, equally many of each;
- evenness: all topics, in ever more equal shares. The shares of each set majorise those of the next, so that every
  measure of shares that is concave, as entropy is, has the same order;
- outliers: more rows of the topics, in place of outliers, each far from all else in the pool. That this makes a set
  more diverse is no fact but an argument (Yang et al. 2025, arXiv 2502.17184): an outlier stands for no part of the
  pool, and so distances alone mislead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftune.selection.kernels.shares import apportion
from siftune.selection.measures.simulated_pool import BOILERPLATE, OUTLIER, SimulatedRows, near_copies

_UNEVEN = 2.0
"""The i-th topic's share in the least even set goes as 1 / i^this."""


@dataclass(frozen=True)
class SimulatedSet:
    """One set of a scenario."""

    amount: float
    """What makes it as diverse as it is, counted (see the scenario)."""
    rows: SimulatedRows


@dataclass(frozen=True)
class Scenario:
    """A way in which sets become more diverse."""

    label: str
    counted: str
    """What a set's amount counts."""
    draw: Callable[[_Pool, int, float, np.random.Generator], tuple[np.ndarray, float]]
    """(pool, rows, progress from 0 to 1, rng) -> (rows,) pool rows, again where they are copied, and the amount."""


def make_sets(
    pool: SimulatedRows, scenario: str, *, rows: int, levels: int, copy_noise: float, rng: np.random.Generator
) -> list[SimulatedSet]:
    """The scenario's sets of `rows` rows each, the least diverse first, each drawn from the pool anew.

    ValueError where the pool is too small for one, or where two of them have the same amount.
    """
    if levels < 2:
        raise ValueError(f"levels={levels} must be at least 2: one set has no order")
    known = _Pool(pool)
    if rows <= known.topics + known.boilerplate:
        least = f"topics={known.topics} and boilerplate={known.boilerplate} together"
        raise ValueError(f"rows={rows} must be more than {least}: a set has rows of all of them")
    made: list[SimulatedSet] = []
    for level in range(levels):
        picks, amount = SCENARIOS[scenario].draw(known, rows, level / (levels - 1), rng)
        if made and amount <= made[-1].amount:
            raise ValueError(f"levels={levels} is more than rows={rows} and topics={known.topics} tell apart")
        made.append(SimulatedSet(amount, near_copies(pool.take(picks), _is_again(picks), copy_noise, rng)))
    return made


def order_agreement(values: Sequence[float], *, more_is_more_diverse: bool) -> float:
    """How well a measure's values of a scenario's sets, in their known order, are in order: Spearman's correlation.

    1: they are, -1: in the opposite order, 0: in none, or all are one value. NaN where one has no value.
    """
    from scipy.stats import spearmanr

    signed = np.asarray(values, dtype=np.float64) * (1 if more_is_more_diverse else -1)
    if not np.isfinite(signed).all():
        return float("nan")
    return 0.0 if np.ptp(signed) == 0 else float(spearmanr(np.arange(len(signed)), signed).statistic)


class _Pool:
    """The pool's rows by what they are."""

    def __init__(self, rows: SimulatedRows) -> None:
        self.topics = int(rows.topics.max()) + 1
        self.boilerplate = BOILERPLATE - int(rows.topics.min()) + 1
        self._rows = {kind: np.flatnonzero(rows.topics == kind) for kind in np.unique(rows.topics).tolist()}

    def some(self, kind: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """So many different rows of a kind."""
        rows = self._rows[kind]
        if count > len(rows):
            what = "topic_rows" if kind >= 0 else "outliers" if kind == OUTLIER else "boilerplate_copies"
            raise ValueError(f"a set has {count} rows of one kind, and the pool has {what}={len(rows)}: make it larger")
        return rng.choice(rows, size=count, replace=False)

    def of_topics(self, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Different rows, so many of the topics in a drawn order."""
        topics = rng.permutation(self.topics)[: len(counts)].tolist()
        return np.concatenate([self.some(topic, count, rng) for topic, count in zip(topics, counts, strict=True)])

    def balanced(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """So many different rows, equally many of every topic."""
        return self.of_topics(_shared(np.ones(self.topics), count), rng)

    def repeated(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """So many near-copies, equally many of every row that the pool repeats."""
        counts = _shared(np.ones(self.boilerplate), count)
        return np.concatenate([self.some(BOILERPLATE - i, copies, rng) for i, copies in enumerate(counts)])


def _distinct(pool: _Pool, rows: int, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    count = _between(pool.topics, rows, progress)
    return np.resize(rng.permutation(pool.balanced(count, rng)), rows), count


def _unrepeated(pool: _Pool, rows: int, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    count = _between(pool.topics, rows - pool.boilerplate, progress)
    picks = np.concatenate([pool.balanced(count, rng), pool.repeated(rows - count, rng)])
    return picks, count + pool.boilerplate


def _typical(pool: _Pool, rows: int, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    count = _between(pool.topics, rows, progress)
    return np.concatenate([pool.balanced(count, rng), pool.some(OUTLIER, rows - count, rng)]), count


def _topics(pool: _Pool, rows: int, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    count = _between(max(1, pool.topics // 10), pool.topics, progress)
    return pool.of_topics(_shared(np.ones(count), rows), rng), count


def _even(pool: _Pool, rows: int, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """One row of every topic at least, so that all sets cover the same topics."""
    weights = np.arange(1, pool.topics + 1) ** (_UNEVEN * (progress - 1))
    counts = 1 + _shared(weights, rows - pool.topics)
    shares = counts / rows
    return pool.of_topics(counts, rng), float(np.exp(-(shares * np.log(shares)).sum()))


SCENARIOS: Mapping[str, Scenario] = {
    "copies": Scenario("fewer copies", "distinct rows", _distinct),
    "boilerplate": Scenario("less boilerplate", "distinct rows", _unrepeated),
    "topics": Scenario("more topics", "topics", _topics),
    "evenness": Scenario("more even shares", "effective topics", _even),
    "outliers": Scenario("fewer outliers", "rows of the topics", _typical),
}


def _between(first: int, last: int, progress: float) -> int:
    return round(first + progress * (last - first))


def _shared(weights: np.ndarray, total: int) -> np.ndarray:
    return apportion(weights, np.full(len(weights), total), total)


def _is_again(picks: np.ndarray) -> np.ndarray:
    """(n,) bool: whether the same pick stands before it."""
    again = np.ones(len(picks), dtype=bool)
    again[np.unique(picks, return_index=True)[1]] = False
    return again
