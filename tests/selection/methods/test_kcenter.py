"""k-center greedy and the farthest rows, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.methods.farthest import Farthest
from siftune.selection.methods.kcenter import KCenterGreedy

LINE = Features(
    size=5, embeddings=np.array([[0], [1], [2], [10], [11]], dtype=np.float32), num_tokens=np.array([5, 5, 5, 5, 9])
)


def test_from_a_given_row() -> None:
    selection = KCenterGreedy(first=0).select(LINE, Budget(4), np.random.default_rng(0))
    assert selection.indices.tolist() == [0, 4, 2, 1]
    np.testing.assert_array_equal(selection.gains, [np.nan, 121, 4, 1])


def test_the_first_row_is_drawn() -> None:
    firsts = {int(KCenterGreedy().select(LINE, Budget(1), np.random.default_rng(s)).indices[0]) for s in range(60)}
    assert firsts == {0, 1, 2, 3, 4}


def test_a_row_that_does_not_fit_is_left_out() -> None:
    """Row 4 is farthest from row 0 and has 9 tokens; with 13 for all, row 3 comes next and nothing fits after it."""
    selection = KCenterGreedy(first=0).select(LINE, Budget(13, "tokens"), np.random.default_rng(0))
    assert selection.indices.tolist() == [0, 3]
    firsts = {
        int(KCenterGreedy().select(LINE, Budget(6, "tokens"), np.random.default_rng(s)).indices[0]) for s in range(60)
    }
    assert firsts == {0, 1, 2, 3}


def test_the_first_row_must_be_there_and_fit() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="first=-1"):
        KCenterGreedy(first=-1)
    with pytest.raises(ValueError, match="first=5 is not a row of the pool, which has 5"):
        KCenterGreedy(first=5).select(LINE, Budget(1), rng)
    with pytest.raises(BudgetError, match="first=4 has 9 tokens"):
        KCenterGreedy(first=4).select(LINE, Budget(8, "tokens"), rng)


def test_going_on_is_what_one_run_would_pick() -> None:
    rng = np.random.default_rng(0)
    features = Features(
        size=400, embeddings=rng.standard_normal((400, 20)).astype(np.float32), num_tokens=rng.integers(1, 50, 400)
    )
    whole = KCenterGreedy(first=7).select(features, Budget(90), rng)
    for given in (1, 30, 89):
        more = KCenterGreedy().extend(features, whole.indices[:given], Budget(90 - given), rng)
        assert more.indices.tolist() == whole.indices[given:].tolist()
        assert more.gains.tolist() == whole.gains[given:].tolist()
        shuffled = KCenterGreedy().extend(features, rng.permutation(whole.indices[:given]), Budget(90 - given), rng)
        assert shuffled.indices.tolist() == more.indices.tolist()


def test_going_on_from_nothing_is_selecting() -> None:
    nothing = np.empty(0, dtype=np.int64)
    for seed in range(5):
        selected = KCenterGreedy().select(LINE, Budget(3), np.random.default_rng(seed))
        extended = KCenterGreedy().extend(LINE, nothing, Budget(3), np.random.default_rng(seed))
        assert extended.indices.tolist() == selected.indices.tolist()


def test_going_on_within_tokens() -> None:
    """Besides row 0 the farthest, row 4, has 9 tokens: with 8 for all, row 3 comes next and nothing fits after it."""
    selection = KCenterGreedy().extend(LINE, np.array([0]), Budget(8, "tokens"), np.random.default_rng(0))
    assert selection.indices.tolist() == [3]
    assert selection.gains.tolist() == [100]
    with pytest.raises(BudgetError, match="the rows left have 14: 6 missing"):
        KCenterGreedy().extend(LINE, np.array([0, 1, 2]), Budget(20, "tokens"), np.random.default_rng(0))


def test_rows_to_go_on_from_are_rows_of_the_pool() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not in the pool of 5 rows: 5, -1"):
        KCenterGreedy().extend(LINE, np.array([0, 5, -1]), Budget(1), rng)
    with pytest.raises(ValueError, match="named more than once: 2"):
        KCenterGreedy().extend(LINE, np.array([2, 0, 2]), Budget(1), rng)


def test_the_farthest_from_all() -> None:
    """East three times, north, west: mean distances 3/5, 1 (cosines 0, 0, 0, 1, 0: 4/5) and (3 * 2 + 1) / 5."""
    embeddings = np.array([[1, 0], [2, 0], [3, 0], [0, 1], [-1, 0]], dtype=np.float32)
    selection = Farthest().select(Features(size=5, embeddings=embeddings), Budget(4), np.random.default_rng(0))
    assert selection.indices.tolist() == [4, 3, 0, 1]
    np.testing.assert_allclose(selection.gains, [7 / 5, 4 / 5, 3 / 5, 3 / 5], rtol=1e-12)
