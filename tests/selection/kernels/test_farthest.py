"""Farthest-first traversal against the textbook form: all distances to every pick, one argmax a pick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.kernels import coarse, farthest
from siftune.selection.kernels.budget import Purse
from siftune.selection.kernels.farthest import farthest_first, farthest_next


def plain(points: np.ndarray, first: int, costs: np.ndarray, left: int) -> tuple[list[int], list[float]]:
    """The textbook form from a first row that fits."""
    picks, gains = plain_next(points, [first], costs, left - int(costs[first]))
    return [first, *picks], [np.inf, *gains]


def plain_next(points: np.ndarray, picked: list[int], costs: np.ndarray, left: int) -> tuple[list[int], list[float]]:
    """The textbook form from rows that are picked already: distances to all of them first."""
    wide = points.astype(np.float64)
    distances = np.min([((wide - wide[row]) ** 2).sum(axis=1) for row in picked], axis=0)
    available = ~np.isin(np.arange(len(points)), picked)
    picks, gains = [], []
    while (available & (costs <= left)).any():
        pick = int(np.argmax(np.where(available, distances, -1)))
        available[pick] = False
        if costs[pick] <= left:
            left -= int(costs[pick])
            picks.append(pick)
            gains.append(float(distances[pick]))
            distances = np.minimum(distances, ((wide - wide[pick]) ** 2).sum(axis=1))
    return picks, gains


def purse_of(size: int, amount: int) -> Purse:
    return Purse(np.ones(size, dtype=np.int64), amount)


def test_by_hand() -> None:
    """Points 0, 1, 2, 10, 11 on a line: 11 is farthest from 0, then 2 lies 4 from 0, then ties at 1 by row."""
    points = np.array([[0], [1], [2], [10], [11]], dtype=np.float32)
    picks, distances = farthest_first(points, 0, purse_of(5, 5))
    assert picks.tolist() == [0, 4, 2, 1, 3]
    assert distances.tolist() == [np.inf, 121, 4, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 80),
    dimension=st.integers(1, 4),
    spread=st.integers(1, 6),
    amount=st.integers(1, 90),
    tokens=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_points_on_a_grid_with_ties(
    size: int, dimension: int, spread: int, amount: int, tokens: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, spread, size=(size, dimension)).astype(np.float32)
    costs = rng.integers(1, 9, size=size) if tokens else np.ones(size, dtype=np.int64)
    first = int(np.argmin(costs))
    amount = max(int(costs[first]), amount if tokens else min(amount, size))
    picks, distances = farthest_first(points, first, Purse(costs, amount))
    expected, gains = plain(points, first, costs, amount)
    assert picks.tolist() == expected
    assert distances.tolist() == gains


def test_going_on_by_hand() -> None:
    """0, 1, 2, 10, 11 on a line, 2 and 10 picked: 0 lies 4 off, then 1 and 11 both 1 off. All picked: nothing more."""
    points = np.array([[0], [1], [2], [10], [11]], dtype=np.float32)
    for picked in ([2, 3], [3, 2]):
        picks, distances = farthest_next(points, np.array(picked), purse_of(5, 3))
        assert picks.tolist() == [0, 1, 4]
        assert distances.tolist() == [4, 1, 1]
    picks, distances = farthest_next(points, np.arange(5), purse_of(5, 5))
    assert (picks.tolist(), distances.tolist()) == ([], [])


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(2, 80),
    dimension=st.integers(1, 20),
    spread=st.integers(1, 6),
    given=st.floats(0, 1),
    amount=st.integers(1, 90),
    tokens=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_going_on_from_any_rows_with_ties(
    size: int, dimension: int, spread: int, given: float, amount: int, tokens: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, spread, size=(size, dimension)).astype(np.float32)
    costs = rng.integers(1, 9, size=size) if tokens else np.ones(size, dtype=np.int64)
    picked = rng.permutation(size)[: 1 + int(given * (size - 1))]
    picks, distances = farthest_next(points, picked, Purse(costs, amount))
    expected, gains = plain_next(points, picked.tolist(), costs, amount)
    assert picks.tolist() == expected
    assert distances.tolist() == gains


@pytest.mark.parametrize("window", [1, 5, 90, 2048])
@pytest.mark.parametrize("bytes_quick", [True, False])
def test_windows_and_blocks_do_not_matter_to_going_on(
    window: int, bytes_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    points = rng.standard_normal((300, 30)).astype(np.float32) + 5 * rng.standard_normal((7, 30))[
        rng.integers(7, size=300)
    ].astype(np.float32)
    points[100:120] = points[50]
    monkeypatch.setattr(farthest, "WINDOW_ROWS", window)
    monkeypatch.setattr(farthest, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(farthest, "_CHUNK_PICKS", 16)
    if not bytes_quick:
        monkeypatch.setattr(coarse, "bytes_are_quick", lambda: False)
    for count in (1, 40, 120):
        picked = rng.permutation(300)[:count]
        picks, _ = farthest_next(points, picked, purse_of(300, 150))
        assert picks.tolist() == plain_next(points, picked.tolist(), np.ones(300), 150)[0]


@pytest.mark.parametrize("window", [1, 5, 90, 2048])
@pytest.mark.parametrize("bytes_quick", [True, False])
def test_neither_windows_nor_blocks_nor_kind_of_product_matter(
    window: int, bytes_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    points = rng.standard_normal((200, 30)).astype(np.float32) + 5 * rng.standard_normal((7, 30))[
        rng.integers(7, size=200)
    ].astype(np.float32)
    points[100:120] = points[50]
    expected, gains = plain(points, 3, np.ones(200), 200)
    monkeypatch.setattr(farthest, "WINDOW_ROWS", window)
    monkeypatch.setattr(farthest, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(farthest, "_CHUNK_PICKS", 16)
    if not bytes_quick:
        monkeypatch.setattr(coarse, "bytes_are_quick", lambda: False)
    for amount in (60, 200):
        picks, distances = farthest_first(points, 3, purse_of(200, amount))
        # Summed in another order, the plain form's distances differ in the last digits; copies of a row lie at 0.
        assert picks.tolist() == expected[:amount]
        np.testing.assert_allclose(distances, gains[:amount], rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e30])
def test_lengths_and_a_common_part_do_not_matter(offset: float) -> None:
    rng = np.random.default_rng(2)
    points = (rng.standard_normal((300, 12)) * max(1.0, offset / 100) + offset).astype(np.float32)
    picks, _ = farthest_first(points, 0, purse_of(300, 200))
    assert picks.tolist() == plain(points, 0, np.ones(300), 200)[0][:200]


def test_equal_rows_come_in_order() -> None:
    picks, distances = farthest_first(np.ones((3000, 3), dtype=np.float32), 2, purse_of(3000, 3000))
    assert picks.tolist() == [2, 0, 1, *range(3, 3000)]
    assert not distances[1:].any()
