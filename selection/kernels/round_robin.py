"""Rankings take turns to pick rows until a budget is met."""

from __future__ import annotations

import numpy as np

from siftune.selection.interface import Selection
from siftune.selection.kernels.budget import Allowance
from siftune.selection.kernels.ranked import Places, RankedRows
from siftune.selection.kernels.similarity import Rankings

_LEAST_DEPTH = 512
_MOST_ENTRIES = 2**23
_NOTHING = (np.empty(0, dtype=np.int64), np.empty(0))


def round_robin(rankings: Rankings, allowance: Allowance, *, pass_on_taken: bool = False) -> Selection:
    """Rankings take turns, in order; the one whose turn it is picks its best row. One ranking: simply its best rows.

    A row that another ranking took, or that no longer fits the budget, is passed over: the ranking picks its next best
    instead, or, with `pass_on_taken`, loses the turn. Gains: the exact scores of the picks in the ranking that picked.
    """
    readers = _Readers(rankings, allowance, pass_on_taken)
    rows: list[int] = []
    gains: list[float] = []
    while not allowance.met:
        for ranking in range(rankings.count):
            row, score = readers.next(ranking)
            while not (taken := allowance.take(row)) and not pass_on_taken:
                row, score = readers.next(ranking)
            if taken:
                rows.append(row)
                gains.append(score)
                if allowance.met:
                    break
    return Selection(np.array(rows, dtype=np.int64), np.array(gains, dtype=np.float64))


class _Readers:
    """A reading position in every ranking, and the passes over the pool that keep them supplied."""

    def __init__(self, rankings: Rankings, allowance: Allowance, pass_on_taken: bool) -> None:
        self._rankings = rankings
        self._allowance = allowance
        self._in_full = pass_on_taken
        share = -(-allowance.expected_rows // rankings.count)
        # No ranking is ever read beyond as many rows as are picked. Eight times the equal share is enough as a rule.
        self._depth = self._bounded(min(max(_LEAST_DEPTH, 8 * share), allowance.expected_rows))
        self._chunk = int(np.clip(share // 4, 32, 4096))
        self._ranked = RankedRows(rankings, self._depth)
        # What was loaded and is not read yet, the next entry last.
        self._ahead: list[list[tuple[int, float]]] = [[] for _ in range(rankings.count)]
        self._loaded: list[tuple[np.ndarray, np.ndarray]] = [_NOTHING] * rankings.count
        self._places = Places(np.full(rankings.count, np.inf), np.full(rankings.count, -1))

    def next(self, ranking: int) -> tuple[int, float]:
        """The next row of a ranking with its exact score; where turns are never lost, taken rows may be left out."""
        if not self._ahead[ranking]:
            self._refill(ranking)
        return self._ahead[ranking].pop()

    def _refill(self, ranking: int) -> None:
        self._remember(ranking)
        if not self._load(ranking):
            self._pass_over_pool()
            loaded = self._load(ranking)
            assert loaded, "a ranking ended before the budget was met"

    def _load(self, ranking: int) -> bool:
        drop = None if self._in_full else self._allowance.taken
        rows, scores = self._loaded[ranking] = self._ranked.next(ranking, self._chunk, drop)
        self._ahead[ranking] = list(zip(rows[::-1].tolist(), scores[::-1].tolist(), strict=True))
        return len(rows) > 0

    def _remember(self, ranking: int) -> None:
        rows, scores = self._loaded[ranking]
        read = len(rows) - len(self._ahead[ranking])
        if read:
            self._places.rows[ranking], self._places.scores[ranking] = rows[read - 1], scores[read - 1]

    def _pass_over_pool(self) -> None:
        """Go on below what was read; where turns are never lost, among the rows that can still be taken alone."""
        self._depth = self._bounded(4 * self._depth)
        for ranking in range(self._rankings.count):
            self._remember(ranking)
            self._ahead[ranking], self._loaded[ranking] = [], _NOTHING
        if self._in_full:
            self._ranked = RankedRows(self._rankings, self._depth, after=self._places)
        else:
            self._ranked = RankedRows(self._rankings, self._depth, skip=self._allowance.unavailable())

    def _bounded(self, depth: int) -> int:
        return min(depth, self._rankings.size, max(_LEAST_DEPTH, _MOST_ENTRIES // self._rankings.count))
