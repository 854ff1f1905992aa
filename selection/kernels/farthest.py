"""Farthest-first traversal: every pick is the row farthest from its nearest row among those picked before.

A row's distance to its nearest pick only falls as rows are picked, so its distance to the nearest of the picks it has
met is an upper bound. Picks are made in windows: the rows with the largest bounds meet the picks that they have not met
until their bound falls behind the window's end; the next picks come from those that stay before the end, for no other
row can be farther. Coarse products only say which distances may lie below a bound; those are computed in float64 in a
fixed order. So the picks depend on neither the windows nor the threads nor the machine.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from siftune.selection.kernels.budget import Purse
from siftune.selection.kernels.chosen import Chosen
from siftune.selection.kernels.coarse import CoarseProducts, coarse_rows
from siftune.selection.kernels.compiled import compiled
from siftune.selection.kernels.distance import squared_distance
from siftune.selection.kernels.near_pairs import bar, next_near
from siftune.selection.kernels.progress import report
from siftune.selection.kernels.workers import workers

WINDOW_ROWS = 2048
"""Rows that picks are made from at once, at most; the picks do not depend on it."""
_FEW_ROWS = 256
_MOST_UPDATED = 2**17
_BLOCK_ROWS = 4096
_CHUNK_PICKS = 256
End: TypeAlias = tuple[float, int]
"""Where a window ends: the bound and the row of its last in the order (bound descending, row)."""


def farthest_first(points: np.ndarray, first: int, budget: Purse) -> tuple[np.ndarray, np.ndarray]:
    """(picks, squared distances) out of (n, d) float32 `points`, starting with row `first`, which must fit the budget.

    The next pick is the row with the largest squared L2 distance to its nearest pick, ties to the lower row; a row that
    no longer fits the budget is left out for good. Returns (k,) int64 rows as picked and (k,) float64 distances at the
    pick, inf for the first. Time: a part of the n k d multiplications of the plain form, which the data decides, most
    of them in 8 bits; memory: n d bytes, 5 k d bytes and 40 bytes a row, besides the points.
    """
    rest = Purse(budget.costs, budget.left - int(budget.costs[first]))
    picks, distances = farthest_next(points, np.array([first]), rest)
    return np.concatenate([[first], picks]), np.concatenate([[np.inf], distances])


def farthest_next(points: np.ndarray, picked: np.ndarray, budget: Purse) -> tuple[np.ndarray, np.ndarray]:
    """The traversal gone on with from (p,) int64 distinct rows already `picked`, at least one, which cost nothing.

    Returns the rows picked besides them and their distances, as `farthest_first` does. Time and memory: as if the rows
    given had been picked here.
    """
    traversal = _Traversal(points, picked, budget)
    with workers() as threads:
        return traversal.run(threads)


@compiled()
def distances_to(points: np.ndarray, row: int, rows: np.ndarray) -> np.ndarray:
    """(m,) float64 squared L2 distances of one row of (n, d) float32 `points` to (m,) others."""
    distances = np.empty(len(rows))
    for place in range(len(rows)):
        distances[place] = squared_distance(points[row], points[rows[place]])
    return distances


class _Pool(NamedTuple):
    """The rows as compiled loops see them."""

    points: np.ndarray
    """(n, d) float32."""
    steps: np.ndarray
    lower: np.ndarray
    unit: float
    """These three: as in `CoarseRows`."""
    bounds: np.ndarray
    """(n,) float64 squared distance to the nearest pick met, or -1 for rows that are picked or left out."""
    met: np.ndarray
    """(n,) int64 how many of the first picks a row has met."""


class _Traversal:
    def __init__(self, points: np.ndarray, picked: np.ndarray, budget: Purse) -> None:
        (self._coarse,), unit = coarse_rows(points)
        bounds = distances_to(points, int(picked[0]), np.arange(len(points)))
        bounds[picked] = -1
        met = np.ones(len(points), dtype=np.int64)
        self._pool = _Pool(points, self._coarse.steps, self._coarse.lower, unit, bounds, met)
        self._costs, self._left, self._total = budget.costs, budget.left, budget.left
        self._picks, self._given = Chosen(points, self._coarse), len(picked)
        self._picks.add(picked)
        self._gains: list[np.ndarray] = [np.empty(0)]

    def run(self, threads: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
        size = WINDOW_ROWS
        while True:
            self._pool.bounds[self._costs > self._left] = -1
            rows, end = _foremost(self._pool.bounds, np.flatnonzero(self._pool.bounds >= 0), size)
            if not len(rows):
                return self._picks.part(self._given).rows, np.concatenate(self._gains)
            stay = self._update_all(rows, end, threads)
            # Few rows stay where bounds are from long ago: then more are brought up to date at once.
            if len(stay) < _FEW_ROWS:
                size = min(2 * size, _MOST_UPDATED)
            elif len(stay) > WINDOW_ROWS:
                size = max(size // 2, WINDOW_ROWS)
                stay, end = _foremost(self._pool.bounds, stay, WINDOW_ROWS)
            if len(stay):
                self._pick(stay, end)
            report("picking rows", self._total - self._left, self._total)

    def _update_all(self, rows: np.ndarray, end: End, threads: ThreadPoolExecutor) -> np.ndarray:
        """Have rows meet all picks, or fall behind the end of the window; those that stay before it, ascending."""
        rows = rows[np.argsort(self._pool.met[rows], kind="stable")]
        blocks = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)]
        return np.sort(np.concatenate(list(threads.map(partial(self._update, end=end), blocks))))

    def _update(self, rows: np.ndarray, end: End) -> np.ndarray:
        codes = self._coarse.codes[rows]
        products = CoarseProducts(max(_BLOCK_ROWS, _CHUNK_PICKS))
        for first in range(int(self._pool.met[rows].min()), self._picks.count, _CHUNK_PICKS):
            picks = self._picks.part(first, first + _CHUNK_PICKS)
            stays = np.empty(len(rows), dtype=np.bool_)
            _meet(products(codes, picks.codes), rows, picks, first, self._pool, end, stays)
            if not stays.all():
                rows, codes = rows[stays], codes[stays]
            if not len(rows):
                break
        return rows

    def _pick(self, rows: np.ndarray, end: End) -> None:
        """Pick from up-to-date rows as long as one of them lies before the end of the window."""
        codes = self._coarse.codes[rows]
        products = CoarseProducts(len(rows))(codes, codes)
        picked, gains = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
        count, left = _pick_window(products, rows, self._pool, self._costs, self._left, end, picked, gains)
        self._picks.add(picked[:count])
        self._gains.append(gains[:count])
        self._left = left


def _foremost(bounds: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, End]:
    """The first `count` of `rows` by (bound descending, row), ascending, and where they end."""
    if len(rows) <= count:
        return rows, (-0.5, 0)
    values = bounds[rows]
    bound = float(np.partition(values, len(rows) - count)[len(rows) - count])
    chosen = values > bound
    same = np.flatnonzero(values == bound)[: count - int(chosen.sum())]
    chosen[same] = True
    return rows[chosen], (bound, int(rows[same[-1]]))


@compiled()
def _stays(value: float, row: int, end: End) -> bool:
    """Whether a row lies before the end of the window."""
    return value > end[0] or (value == end[0] and row <= end[1])


@compiled()
def _meet(  # type: ignore[no-untyped-def]
    products, rows, picks, first, pool, end, stays
):
    """Rows meet the picks from number `first` on, which they have (b, c) products with, until they fall behind."""
    points, own_steps, own_lower, unit, bounds, met = pool
    _, vectors, _, steps, lower = picks
    for place in range(len(rows)):
        row = rows[place]
        line, value, column = products[place], bounds[row], max(met[row] - first, 0)
        stays[place] = True
        while stays[place] and column < len(steps):
            limit = bar(own_lower[row], value, unit)
            column = next_near(line, steps, lower, own_steps[row], limit, column)
            if column < len(steps):
                value = min(value, squared_distance(points[row], vectors[column]))
                stays[place] = _stays(value, row, end)
                column += 1
        bounds[row], met[row] = value, first + column


@compiled()
def _pick_window(  # type: ignore[no-untyped-def]
    products, rows, pool, costs, left, end, picked, gains
):
    """(rows picked, what is left): the farthest row again and again, until all lie behind the end or none fits."""
    count, taken = pool.met[rows[0]], 0
    live = np.arange(len(rows))
    lives = len(rows)
    while lives > 0:
        best = 0
        for entry in range(1, lives):
            if pool.bounds[rows[live[entry]]] > pool.bounds[rows[live[best]]]:
                best = entry
        chosen = live[best]
        row = rows[chosen]
        fits = costs[row] <= left
        if fits:
            picked[taken], gains[taken] = row, pool.bounds[row]
            taken += 1
            left -= costs[row]
        pool.bounds[row] = -1.0
        remaining = 0
        for entry in range(lives):
            place = live[entry]
            other = rows[place]
            if place == chosen:
                continue
            if fits:
                pool.met[other] = count + taken
                limit = bar(pool.lower[other], pool.bounds[other], pool.unit)
                product = np.float32(products[chosen, place]) * pool.steps[row] * pool.steps[other]
                if product >= limit + pool.lower[row]:
                    pool.bounds[other] = min(pool.bounds[other], squared_distance(pool.points[other], pool.points[row]))
                    if not _stays(pool.bounds[other], other, end):
                        continue
            live[remaining] = place
            remaining += 1
        lives = remaining
    return taken, left
