"""Rankings read from the top in exact order, scoring exactly only the rows that are reached.

Of a ranking's kept rows a heap is made, keyed by the most that their exact score can be: the screening score plus the
tolerance, or the exact score once it is known. A row that is at the top with its exact score precedes all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from siftune.selection.kernels.compiled import compiled, heapify, sift_down
from siftune.selection.kernels.exact import Scorer, exact_score
from siftune.selection.kernels.similarity import COMPARING, Rankings, Recipe
from siftune.selection.kernels.spread import is_spread, over_rows
from siftune.selection.kernels.topk import Kept, Places, TopRows, largest, merged_rows, nothing_read, unpacked


class RankedRows:
    """The best `depth` rows of every ranking, by exact score descending, ties by the lower row; one pass over the pool.

    `skip` (n,) bool leaves rows out altogether, `places` what was read already. Read with `next_row`. About `ahead`
    rows of every ranking are scored at once, by several threads.
    """

    def __init__(self, rankings: Rankings, depth: int, ahead: int, skip: np.ndarray, places: Places) -> None:
        # Held because the scorer points into their arrays.
        self._rankings = rankings
        self.scorer = rankings.scorer
        self.kept = _top_rows(rankings, depth, skip, places)
        # Of the rows kept, only the best `depth` are sure to precede every row that was let go.
        self.sure = np.where(np.isneginf(self.kept.floors), self.kept.counts, depth)
        """(M,) int64: how many entries of a ranking may still be read."""
        bars = largest(self.kept, np.arange(rankings.count), ahead)
        parts = np.array_split(np.arange(rankings.count), min(rankings.count, torch.get_num_threads()))
        with ThreadPoolExecutor(len(parts)) as threads:
            list(threads.map(lambda part: _make_heaps(self.scorer, self.kept, part[0], part[-1] + 1, bars), parts))


def _top_rows(rankings: Rankings, depth: int, skip: np.ndarray, places: Places) -> Kept:
    """The candidates for the best `depth` rows of every ranking, out of all rows or merged from those of ranges."""
    if not is_spread():
        top = TopRows(rankings.scorer, depth, skip, places, rankings.block_rows)
        for block in rankings.blocks():
            top.add(block)
        return top.kept
    top = TopRows(rankings.scorer, depth, skip, places, merged_rows(depth))
    work = partial(_top_rows_of_range, rankings.recipe(), depth, places)
    for part in over_rows(COMPARING, work, [*rankings.views, skip]):
        top.merge(part)
    return top.kept


def _top_rows_of_range(recipe: Recipe, depth: int, places: Places, arrays: Sequence[np.ndarray], first: int) -> Kept:
    rankings = recipe(arrays[:-1], first=first)
    own = Places(places.scores, places.rows - first)
    top = TopRows(rankings.scorer, min(depth, rankings.size), arrays[-1], own, rankings.block_rows)
    for block in rankings.blocks():
        top.add(block)
    return top.settled(first)


def best_scores(rankings: Rankings) -> np.ndarray:
    """(M,) exact score of the best row of every ranking."""
    nobody = np.zeros(rankings.size, dtype=np.bool_)
    ranked = RankedRows(rankings, 1, 1, nobody, nothing_read(rankings.count))
    reads = [next_row(ranked.scorer, ranked.kept, ranked.sure, row, nobody) for row in range(rankings.count)]
    return np.array([score for _, score in reads])


@compiled()
def next_row(scorer: Scorer, kept: Kept, sure: np.ndarray, ranking: int, drop: np.ndarray) -> tuple[int, float]:
    """(row, exact score) of the next entry of a ranking, (-1, 0.0) where a new pass over the pool is needed.

    `drop` (n,) bool: rows that the reader has no use for; they need not be scored and may be left out.
    """
    keys, codes = kept.keys[ranking], kept.codes[ranking]
    while kept.counts[ranking] > 0 and sure[ranking] > 0 and codes[0] < 0:
        row, direction = unpacked(codes[0], len(scorer.offsets))
        if drop[row]:
            remove_first(kept, sure, ranking)
        else:
            keys[0], codes[0] = exact_score(scorer, ranking, row, direction), row
            sift_down(keys, codes, kept.counts[ranking], 0)
    if kept.counts[ranking] == 0 or sure[ranking] == 0:
        return -1, 0.0
    row, score = codes[0], keys[0]
    remove_first(kept, sure, ranking)
    return row, score


@compiled()
def remove_first(kept: Kept, sure: np.ndarray, ranking: int) -> None:
    """Take the first entry out of a ranking's heap."""
    keys, codes, end = kept.keys[ranking], kept.codes[ranking], kept.counts[ranking] - 1
    keys[0], codes[0] = keys[end], codes[end]
    sift_down(keys, codes, end, 0)
    kept.counts[ranking] = end
    sure[ranking] -= 1


@compiled()
def _make_heaps(scorer: Scorer, kept: Kept, first: int, last: int, bars: np.ndarray) -> None:
    """Heaps of the rankings from `first` to before `last`; rows whose key reaches the bar are scored exactly."""
    for ranking in range(first, last):
        keys, codes, tolerance = kept.keys[ranking], kept.codes[ranking], scorer.tolerance[ranking]
        for place in range(kept.counts[ranking]):
            if codes[place] < 0 and keys[place] >= bars[ranking]:
                row, direction = unpacked(codes[place], len(scorer.offsets))
                keys[place], codes[place] = exact_score(scorer, ranking, row, direction), row
            elif codes[place] < 0:
                keys[place] += tolerance
        heapify(keys, codes, kept.counts[ranking])
