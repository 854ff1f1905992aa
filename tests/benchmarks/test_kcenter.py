"""k-center greedy and the farthest rows: the textbook form against ours.

pytest tests/benchmarks/test_kcenter.py -m benchmark -s
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from siftune.selection.interface import Budget, Features, Selection
from siftune.selection.methods.farthest import Farthest
from siftune.selection.methods.kcenter import KCenterGreedy

pytestmark = pytest.mark.benchmark
DIMENSION = 384


def _textbook(points: np.ndarray, k: int) -> list[int]:
    """Every pick anew: for every row the distance to its nearest pick, out of its distances to all of them."""
    wide = points.astype(np.float64)
    squares = (wide * wide).sum(axis=1)
    picks = [0]
    while len(picks) < k:
        distances = squares[:, None] + squares[picks] - 2 * wide @ wide[picks].T
        nearest = distances.min(axis=1)
        nearest[picks] = -1
        picks.append(int(nearest.argmax()))
    return picks


def _incremental(points: np.ndarray, k: int) -> list[int]:
    """Distances to the nearest pick are kept and lowered by every pick; in float32 two picks of 1,000 change places."""
    wide = points.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    picks = [0]
    while True:
        difference = wide - wide[picks[-1]]
        nearest = np.minimum(nearest, np.einsum("ij,ij->i", difference, difference))
        nearest[picks] = -1
        if len(picks) == k:
            return picks
        picks.append(int(nearest.argmax()))


def _ours(points: np.ndarray, k: int) -> Selection:
    features = Features(size=len(points), embeddings=points)
    return KCenterGreedy(first=0).select(features, Budget(k), np.random.default_rng(0))


@pytest.mark.parametrize("clusters", [None, 2_000])
def test_5k_rows(bench: Any, clusters: int | None) -> None:
    """5,000 rows: all distances anew for every pick (k = 500), and lowered by every pick (k = 1,000)."""
    _ours(bench.vectors(300, DIMENSION), 200)
    points = bench.vectors(5_000, DIMENSION, clusters=clusters)
    for form, plain, k in (("every distance anew", _textbook, 500), ("distances lowered", _incremental, 1_000)):
        ours = bench.measure(lambda: _ours(points, k), repeats=5)  # noqa: B023
        reference = bench.measure(lambda: plain(points, k))  # noqa: B023
        assert ours.result.indices.tolist() == reference.result
        size = f"5k x {DIMENSION}, k {k:,}, {clusters or 'no'} clusters"
        bench.row(f"k-center greedy, {form}", size, ours, plain=reference, n=5_000, k=k)


@pytest.mark.parametrize("clusters", [None, 2_000])
def test_396k_rows(bench: Any, clusters: int | None) -> None:
    """NovelSum's pool: 396,000 rows, k = 10,000. Goal: 15 s."""
    _ours(bench.vectors(300, DIMENSION), 200)
    points, k = bench.vectors(396_000, DIMENSION, clusters=clusters), 10_000
    ours = bench.measure(lambda: _ours(points, k))
    machine = bench.gemm_seconds(8192, 8192, DIMENSION) * len(points) * k / 8192**2
    size = f"396k x {DIMENSION}, k 10k, {clusters or 'no'} clusters"
    bench.row("k-center greedy", size, ours, goal="<= 15 s", machine=machine, n=len(points), k=k)


def test_farthest_396k_rows(bench: Any) -> None:
    """The farthest from all rows, k = 10,000; the plain form takes the n x n cosines, here for 5,000 rows only."""
    points = bench.vectors(396_000, DIMENSION, clusters=2_000)
    few = points[:5_000]

    def plain() -> list[int]:
        units = few.astype(np.float64) / np.linalg.norm(few.astype(np.float64), axis=1, keepdims=True)
        ranked: list[int] = np.argsort(-(1 - units @ units.T).mean(axis=1), kind="stable")[:500].tolist()
        return ranked

    def ours(rows: np.ndarray, k: int) -> Selection:
        return Farthest().select(Features(size=len(rows), embeddings=rows), Budget(k), np.random.default_rng(0))

    small = bench.measure(lambda: ours(few, 500), repeats=3)
    reference = bench.measure(plain)
    assert small.result.indices.tolist() == reference.result
    bench.row("farthest", f"5k x {DIMENSION}, k 500", small, plain=reference, n=5_000, k=500)
    large = bench.measure(lambda: ours(points, 10_000))
    machine = 2 * points.nbytes / bench.bandwidth()
    bench.row("farthest", f"396k x {DIMENSION}, k 10k", large, goal="<= 15 s", machine=machine, n=396_000, k=10_000)


def test_growth(bench: Any) -> None:
    """A decade of rows at k = 2,000, and a decade of k at 50,000 rows."""
    _ours(bench.vectors(300, DIMENSION), 200)
    points = bench.vectors(100_000, DIMENSION, clusters=2_000)
    sizes = [(size, 2_000) for size in (10_000, 20_000, 50_000, 100_000)]
    for size, k in [*sizes, (50_000, 500), (50_000, 1_000), (50_000, 5_000)]:
        ours = bench.measure(lambda: _ours(points[:size], k), repeats=2)  # noqa: B023
        bench.row("k-center greedy", f"{size:,} rows, k {k:,}", ours, n=size, k=k)


def _extended(points: np.ndarray, picked: np.ndarray, k: int) -> Selection:
    features = Features(size=len(points), embeddings=points)
    return KCenterGreedy().extend(features, picked, Budget(k), np.random.default_rng(0))


def _incremental_next(points: np.ndarray, picked: np.ndarray, k: int) -> list[int]:
    """Distances to the rows given first, one after the other, then as `_incremental`."""
    wide = points.astype(np.float64)
    nearest = np.full(len(points), np.inf)
    picks = picked.tolist()
    for number in range(len(picked) + k - 1):
        if number >= len(picked):
            nearest[picks] = -1
            picks.append(int(nearest.argmax()))
        difference = wide - wide[picks[number]]
        nearest = np.minimum(nearest, np.einsum("ij,ij->i", difference, difference))
    nearest[picks] = -1
    return [*picks[len(picked) :], int(nearest.argmax())]


@pytest.mark.parametrize("clusters", [None, 2_000])
def test_extend_5k_rows(bench: Any, clusters: int | None) -> None:
    """500 rows besides 500 given at random, and as the second half of what `select` picks at once."""
    points = bench.vectors(5_000, DIMENSION, clusters=clusters)
    picked = np.random.default_rng(0).permutation(5_000)[:500]
    _extended(points[:300], np.arange(100), 100)
    ours = bench.measure(lambda: _extended(points, picked, 500), repeats=5)
    reference = bench.measure(lambda: _incremental_next(points, picked, 500))
    assert ours.result.indices.tolist() == reference.result
    size = f"5k x {DIMENSION}, 500 given, 500 more, {clusters or 'no'} clusters"
    bench.row("k-center extend, distances lowered", size, ours, plain=reference, n=5_000, k=500)


@pytest.mark.parametrize("clusters", [None, 2_000])
def test_extend_against_select_52k_rows(bench: Any, clusters: int | None) -> None:
    """A pool of Alpaca's size: 1,000 rows at once, the later half besides the earlier, and besides random rows."""
    points = bench.vectors(52_000, DIMENSION, clusters=clusters)
    _extended(points[:300], np.arange(100), 100)
    whole = bench.measure(lambda: _ours(points, 1_000), repeats=3)
    given = whole.result.indices[:500]
    more = bench.measure(lambda: _extended(points, given, 500), repeats=3)
    assert more.result.indices.tolist() == whole.result.indices[500:].tolist()
    size = f"52k x {DIMENSION}, {clusters or 'no'} clusters"
    bench.row("k-center greedy", f"{size}, k 1,000", whole, n=52_000, k=1_000)
    bench.row("k-center extend", f"{size}, its first 500 given, 500 more", more, n=52_000, k=500)
    scattered = np.random.default_rng(0).permutation(52_000)[:5_000]
    besides = bench.measure(lambda: _extended(points, scattered, 1_000))
    bench.row("k-center extend", f"{size}, 5,000 random given, 1,000 more", besides, n=52_000, k=1_000)
