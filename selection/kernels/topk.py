"""The best rows of every ranking out of a stream of score blocks, in memory that does not grow with the pool.

Per ranking, a set is kept that certainly holds its `depth` best rows by exact score (score descending, then row). Why
it does: let t be the `depth`-th largest screening score and e the tolerance. At least `depth` rows then have an exact
score above t - e, so a row of the true best has one of at least t - e too, hence a screening score of at least t - 2 e.
Exactly the rows below that floor are let go; t only rises as rows arrive. Where so many rows lie within the tolerance
that a set would overflow (copies, near-copies), they are scored exactly and cut to `depth`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from siftune.selection.kernels.compiled import compiled, heapify, sift_down
from siftune.selection.kernels.exact import Scorer, exact_score
from siftune.selection.kernels.screening import clear_gap, only_direction, screen, screened_room
from siftune.selection.kernels.similarity import Block

_LEAST_ROOM = 1024
_STRIDE = 32


class Kept(NamedTuple):
    """The sets of M rankings: 16 bytes for each of M * (depth + max(depth, 1024) + a block's rows) entries."""

    keys: np.ndarray
    """(M, capacity) float64: exact score of a row that was scored exactly, else the screening score."""
    codes: np.ndarray
    """(M, capacity) int64: the row if it was scored exactly, else a negative code of row and best direction."""
    counts: np.ndarray
    """(M,) int64 entries in use."""
    floors: np.ndarray
    """(M,) float32: rows with screening scores below it were let go; -inf as long as none was."""


class Places(NamedTuple):
    """Per ranking, the entry that was read last: what precedes it is left out of a pass over the pool."""

    scores: np.ndarray
    """(M,) float64 exact scores, inf for a ranking of which nothing was read."""
    rows: np.ndarray
    """(M,) int64."""


def nothing_read(rankings: int) -> Places:
    """Places to begin with."""
    return Places(np.full(rankings, np.inf), np.full(rankings, -1))


class TopRows:
    """Takes in the blocks of one pass over the pool."""

    def __init__(self, scorer: Scorer, depth: int, skip: np.ndarray, places: Places, block_rows: int) -> None:
        """`skip` (n,) bool: rows to leave out; `block_rows`: the most that a block, or a merged set, has."""
        self._scorer, self._depth, self._skip, self._places = scorer, depth, skip, places
        rankings, self._room = len(scorer.tolerance), max(depth, _LEAST_ROOM)
        shape = (rankings, depth + self._room + block_rows)
        self.kept = Kept(
            np.empty(shape),
            np.empty(shape, dtype=np.int64),
            np.zeros(rankings, dtype=np.int64),
            np.full(rankings, -np.inf, dtype=np.float32),
        )

    def add(self, block: Block) -> None:
        """Take in the scores of a block."""
        self._make_room(block.inverse.shape[1])
        _collect(self._scorer, self.kept, block.first, block.products, block.inverse, self._skip, self._places)

    def merge(self, part: Kept) -> None:
        """Take in what `settled` gave of other rows; what is kept of both certainly holds the best rows of both."""
        width = part.keys.shape[1]
        self._make_room(width)
        for ranking in np.flatnonzero(part.counts):
            count, more = self.kept.counts[ranking], part.counts[ranking]
            self.kept.keys[ranking, count : count + more] = part.keys[ranking, :more]
            self.kept.codes[ranking, count : count + more] = part.codes[ranking, :more]
            self.kept.counts[ranking] += more
        np.maximum(self.kept.floors, part.floors, out=self.kept.floors)

    def settled(self, first: int) -> Kept:
        """The sets for `merge`, of at most `merged_rows` entries, with `first` added to their rows' numbers."""
        self._make_room(self.kept.keys.shape[1] - merged_rows(self._depth))
        keys, codes, counts, floors = self.kept
        width = int(counts.max(initial=0))
        shift = np.where(codes[:, :width] < 0, -first * (len(self._scorer.offsets) + 1), first)
        return Kept(keys[:, :width].copy(), codes[:, :width] + shift, counts, floors)

    def _make_room(self, entries: int) -> None:
        full = np.flatnonzero(self.kept.counts > self.kept.keys.shape[1] - entries)
        if full.size:
            bars = largest(self.kept, full, self._depth)
            _compact(self._scorer, self.kept, full, bars, self._depth, self._depth + self._room // 2)


def merged_rows(depth: int) -> int:
    """The most entries of a ranking that `settled` gives."""
    return depth + max(depth, _LEAST_ROOM) // 2


def largest(kept: Kept, rankings: np.ndarray, depth: int) -> np.ndarray:
    """(m,) float64: the `depth`-th largest key of some rankings, -inf where there are fewer."""
    width = max(depth, int(kept.counts[rankings].max()))
    keys = np.where(np.arange(width) < kept.counts[rankings, None], kept.keys[rankings, :width], -np.inf)
    return np.partition(keys, width - depth, axis=1)[:, width - depth]


@compiled()
def _collect(
    scorer: Scorer,
    kept: Kept,
    first: int,
    products: np.ndarray,
    inverse: np.ndarray,
    skip: np.ndarray,
    places: Places,
) -> None:
    """Add the rows of a block that reach the floors; there is room for all of them."""
    size = inverse.shape[1]
    screened = screened_room(size)
    scores, width = screened.scores, len(scorer.offsets)
    for ranking in range(len(kept.counts)):
        screen(scorer, ranking, products, inverse, screened)
        keys, codes, count = kept.keys[ranking], kept.codes[ranking], kept.counts[ranking]
        floor, read = kept.floors[ranking], places.scores[ranking] - scorer.tolerance[ranking]
        only, gap = only_direction(scorer, ranking), clear_gap(scorer, ranking)
        for start in range(0, size, _STRIDE):
            stop, hits = min(start + _STRIDE, size), 0
            for column in range(start, stop):
                hits += scores[column] >= floor
            for column in range(start, stop if hits else start):
                row = first + column
                if scores[column] < floor or skip[row]:
                    continue
                if scores[column] >= read and _was_read(scorer, places, ranking, row, scores[column]):
                    continue
                keys[count] = scores[column]
                direction = only
                if only < 0 and np.float64(screened.best[column]) - screened.second[column] > gap:
                    direction = np.int64(screened.chosen[column])
                codes[count] = packed(row, direction, width)
                count += 1
        kept.counts[ranking] = count


@compiled()
def packed(row: int, direction: int, width: int) -> int:
    """The negative code of a row and its best direction of `width`, -1 where that is not known."""
    return -1 - (row * (width + 1) + direction + 1)


@compiled()
def unpacked(code: int, width: int) -> tuple[int, int]:
    """(row, best direction or -1) of a negative code."""
    row = (-1 - code) // (width + 1)
    return row, -2 - code - row * (width + 1)


@compiled()
def _was_read(scorer: Scorer, places: Places, ranking: int, row: int, score: float) -> bool:
    """Whether a row precedes, or is, what was read last; only rows within the tolerance of it are scored exactly."""
    place = places.scores[ranking]
    if score > place + scorer.tolerance[ranking]:
        return True
    exact = exact_score(scorer, ranking, row, -1)
    return exact > place or (exact == place and row <= places.rows[ranking])


@compiled()
def _compact(scorer: Scorer, kept: Kept, rankings: np.ndarray, bars: np.ndarray, depth: int, most: int) -> None:
    """Bring some rankings down to at most `most` entries; `bars` (m,): their `depth`-th largest keys."""
    for number in range(len(rankings)):
        ranking = rankings[number]
        keys, codes, count = kept.keys[ranking], kept.codes[ranking], kept.counts[ranking]
        floor = _below(bars[number] - 2 * scorer.tolerance[ranking])
        left = 0
        for key in keys[:count]:
            left += key >= floor
        if left > most:
            floor, left = _settle(scorer, keys[:count], codes[:count], depth, ranking), depth
        else:
            left = 0
            for place in range(count):
                if keys[place] >= floor:
                    keys[left], codes[left] = keys[place], codes[place]
                    left += 1
        kept.counts[ranking] = left
        kept.floors[ranking] = max(kept.floors[ranking], floor)


@compiled()
def _settle(scorer: Scorer, keys: np.ndarray, codes: np.ndarray, depth: int, ranking: int) -> float:
    """Score all entries exactly and bring the best `depth` to the front; returns the new floor."""
    for place in range(len(keys)):
        if codes[place] < 0:
            row, direction = unpacked(codes[place], len(scorer.offsets))
            keys[place], codes[place] = exact_score(scorer, ranking, row, direction), row
    heapify(keys, codes, len(keys))
    best_keys, best_codes = np.empty(depth), np.empty(depth, np.int64)
    for place in range(depth):
        best_keys[place], best_codes[place] = keys[0], codes[0]
        end = len(keys) - 1 - place
        keys[0], codes[0] = keys[end], codes[end]
        sift_down(keys, codes, end, 0)
    for place in range(depth):
        keys[place], codes[place] = best_keys[place], best_codes[place]
    return _below(best_keys[-1] - scorer.tolerance[ranking])


@compiled()
def _below(value: float) -> float:
    """A float32 that is certainly lower."""
    return np.nextafter(np.float32(value), np.float32(-np.inf))
