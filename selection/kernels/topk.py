"""The best rows of every ranking out of a stream of score blocks, in memory that does not grow with the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_LEAST_ROOM = 4096


class TopRows:
    """Per ranking, a set of rows that certainly holds its `depth` best by exact score (score descending, then row).

    Why it does: let t be the `depth`-th largest screening score and e the tolerance. At least `depth` rows then have an
    exact score above t - e, so a row of the true best has one of at least t - e too, hence a screening score above
    t - 2 e. Exactly the rows below that `floor` are let go; t only rises as rows arrive. Where so many rows lie within
    the tolerance that the buffer would overflow (copies, near-copies), they are scored exactly and cut to `depth`.

    Memory: 12 bytes for each of M * (depth + max(depth, 4096)) entries.
    """

    def __init__(self, depth: int, tolerance: np.ndarray, exact: Callable[[int, np.ndarray], np.ndarray]) -> None:
        """`tolerance` (M,); `exact(ranking, rows)` gives exact scores."""
        self._depth = depth
        self._tolerance = tolerance
        self._exact = exact
        self._capacity = depth + max(depth, _LEAST_ROOM)
        self._scores = np.empty((len(tolerance), self._capacity), dtype=np.float32)
        self._rows = np.empty((len(tolerance), self._capacity), dtype=np.int64)
        self._counts = np.zeros(len(tolerance), dtype=np.int64)
        self._floors = np.full(len(tolerance), -np.inf, dtype=np.float32)

    def add(self, first: int, scores: np.ndarray) -> None:
        """Take in (M, b) float32 screening scores of the rows from `first` on; -inf leaves a row out."""
        start = 0
        while start < scores.shape[1]:
            # Until there are floors every score is a candidate, so the first ones are taken in small pieces.
            stop = scores.shape[1] if np.isfinite(self._floors).all() else start + _LEAST_ROOM // 4
            self._add(first + start, scores[:, start:stop])
            start = stop

    def complete(self, ranking: int) -> bool:
        """Whether no row was let go."""
        return bool(np.isneginf(self._floors[ranking]))

    def result(self, ranking: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows, screening scores) kept for one ranking, best screening score first."""
        count = self._counts[ranking]
        order = np.argsort(-self._scores[ranking, :count])
        return self._rows[ranking, order], self._scores[ranking, order]

    def _add(self, first: int, scores: np.ndarray) -> None:
        rankings, columns = self._candidates(scores)
        added = np.bincount(rankings, minlength=len(self._counts))
        if (self._counts + added > self._capacity).any():
            self._compact((self._capacity - self._depth) // 2)
            rankings, columns = self._candidates(scores)
            added = np.bincount(rankings, minlength=len(self._counts))
        if (self._counts + added > self._capacity).any():
            half = scores.shape[1] // 2
            self._add(first, scores[:, :half])
            self._add(first + half, scores[:, half:])
            return
        places = np.arange(len(rankings)) + np.repeat(self._counts - np.cumsum(added) + added, added)
        self._scores[rankings, places] = scores[rankings, columns]
        self._rows[rankings, places] = first + columns
        self._counts += added

    def _candidates(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        floors = np.maximum(self._floors, np.finfo(np.float32).min)
        found = np.flatnonzero((scores >= floors[:, None]).ravel())
        return np.divmod(found, scores.shape[1])

    def _compact(self, room: int) -> None:
        """Bring every ranking down to at most depth + room entries."""
        for ranking in np.flatnonzero(self._counts > self._depth + room // 2).tolist():
            count = int(self._counts[ranking])
            scores = self._scores[ranking, :count]
            last = np.partition(scores, count - self._depth)[count - self._depth]
            floor = _below(last - 2 * self._tolerance[ranking])
            keep = np.flatnonzero(scores >= floor)
            if len(keep) > self._depth + room:
                keep, floor = self._settle(ranking, count)
            self._scores[ranking, : len(keep)] = scores[keep]
            self._rows[ranking, : len(keep)] = self._rows[ranking, keep]
            self._counts[ranking] = len(keep)
            self._floors[ranking] = max(self._floors[ranking], floor)

    def _settle(self, ranking: int, count: int) -> tuple[np.ndarray, np.float32]:
        rows = self._rows[ranking, :count]
        exact = self._exact(ranking, rows)
        keep = np.lexsort((rows, -exact))[: self._depth]
        return np.sort(keep), _below(exact[keep[-1]] - self._tolerance[ranking])


def _below(value: float) -> np.float32:
    return np.nextafter(np.float32(value), np.float32(-np.inf))
