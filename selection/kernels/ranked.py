"""Rankings read from the top in exact order, scoring exactly only the rows that are reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftune.selection.kernels.similarity import Rankings
from siftune.selection.kernels.topk import TopRows


@dataclass(frozen=True)
class Places:
    """Per ranking, the entry read last: what a later reading goes on after."""

    scores: np.ndarray
    """(M,) float64 exact scores, +inf for a ranking of which nothing was read."""
    rows: np.ndarray
    """(M,) int64."""


class RankedRows:
    """The best `depth` rows of every ranking, by exact score descending, ties by the lower row; one pass over the pool.

    `skip` (n,) bool leaves rows out altogether; `after` leaves out what stands at those places or before them.
    """

    def __init__(
        self, rankings: Rankings, depth: int, *, skip: np.ndarray | None = None, after: Places | None = None
    ) -> None:
        self._rankings = rankings
        kept = TopRows(depth, rankings.tolerance, rankings.exact)
        for first, scores in rankings.screen():
            if skip is not None:
                scores[:, skip[first : first + scores.shape[1]]] = -np.inf
            if after is not None:
                self._drop_read(first, scores, after)
            kept.add(first, scores)
        self._lists = [_RankedList(rankings, ranking, kept, depth) for ranking in range(rankings.count)]

    def next(self, ranking: int, size: int, drop: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The next entries of one ranking: (rows, exact scores), about `size` of them; empty when there are no more.

        `drop` (n,) bool: rows the reader has no use for any more; they need not be scored and are left out.
        """
        return self._lists[ranking].next(size, drop)

    def _drop_read(self, first: int, scores: np.ndarray, after: Places) -> None:
        """Set what was read already to -inf; only rows within the tolerance of the place are scored exactly."""
        tolerance = self._rankings.tolerance
        unclear = scores >= (after.scores - tolerance)[:, None]
        scores_above = scores > (after.scores + tolerance)[:, None]
        scores[scores_above] = -np.inf
        unclear &= ~scores_above
        for ranking in np.flatnonzero(unclear.any(axis=1)):
            columns = np.flatnonzero(unclear[ranking])
            exact = self._rankings.exact(int(ranking), first + columns)
            place, row = after.scores[ranking], after.rows[ranking]
            read = (exact > place) | ((exact == place) & (first + columns <= row))
            scores[ranking, columns[read]] = -np.inf


class _RankedList:
    """One ranking: candidates are scored exactly in screening order, handed on once nothing unscored can precede."""

    def __init__(self, rankings: Rankings, ranking: int, kept: TopRows, depth: int) -> None:
        self._rankings = rankings
        self._ranking = ranking
        self._rows, self._screened = kept.result(ranking)
        self._scored = 0
        self._waiting_rows = np.empty(0, dtype=np.int64)
        self._waiting_scores = np.empty(0)
        # Of the candidates, only the best `depth` are sure to precede every row that was let go.
        self._left = len(self._rows) if kept.complete(ranking) else depth

    def next(self, size: int, drop: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        while self._left > 0 and (self._scored < len(self._rows) or len(self._waiting_rows)):
            rows, scores = self._sure(size, drop)
            if len(rows):
                return rows, scores
        return np.empty(0, dtype=np.int64), np.empty(0)

    def _sure(self, size: int, drop: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        stop = min(self._scored + size, len(self._rows))
        new = self._rows[self._scored : stop]
        self._scored = stop
        if drop is not None:
            wanted = new[~drop[new]]
            self._left -= len(new) - len(wanted)
            new = wanted
        rows = np.concatenate([self._waiting_rows, new])
        scores = np.concatenate([self._waiting_scores, self._rankings.exact(self._ranking, new)])
        order = np.lexsort((rows, -scores))
        rows, scores = rows[order], scores[order]
        sure = len(rows)
        if stop < len(self._rows):
            bound = self._screened[stop] + self._rankings.tolerance[self._ranking]
            sure = int(np.searchsorted(-scores, -bound, side="right"))
        self._waiting_rows, self._waiting_scores = rows[sure:], scores[sure:]
        sure = max(0, min(sure, self._left))
        self._left -= sure
        return rows[:sure], scores[:sure]
