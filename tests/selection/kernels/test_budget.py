from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.interface import Budget, BudgetError, Features
from siftune.selection.kernels.budget import Allowance, fill


def _pool(tokens: list[int]) -> Features:
    return Features(size=len(tokens), num_tokens=np.array(tokens, dtype=np.int64))


def _walk(order: list[int], tokens: list[int], amount: int) -> list[int]:
    picks: list[int] = []
    for row in order:
        if tokens[row] <= amount:
            picks.append(row)
            amount -= tokens[row]
    return picks


def test_examples_and_fraction_take_the_first_rows() -> None:
    order, pool = np.array([3, 1, 0, 2]), Features(size=4)
    assert fill(order, pool, Budget(3)).tolist() == [3, 1, 0]
    assert fill(order, pool, Budget(0.5, "fraction")).tolist() == [3, 1]


def test_tokens_skip_what_does_not_fit_and_go_on() -> None:
    """10: take 6; 7 and 5 do not fit; take 3; nothing of at most 1 is left."""
    assert fill(np.array([0, 1, 2, 3, 4]), _pool([6, 7, 5, 3, 2]), Budget(10, "tokens")).tolist() == [0, 3]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 400), st.randoms(use_true_random=False))
def test_tokens_are_filled_as_by_walking_the_order(tokens: list[int], amount: int, random: object) -> None:
    order = list(range(len(tokens)))
    random.shuffle(order)  # type: ignore[attr-defined]
    pool, budget = _pool(tokens), Budget(amount, "tokens")
    if sum(tokens) < amount or min(tokens) > amount:
        with pytest.raises(BudgetError):
            fill(np.array(order), pool, budget)
        return
    expected = _walk(order, tokens, amount)
    assert fill(np.array(order), pool, budget).tolist() == expected
    allowance = Allowance(pool, budget)
    assert [row for row in order if not allowance.met and allowance.take(row)] == expected
    assert allowance.met
    assert np.flatnonzero(allowance.taken).tolist() == sorted(expected)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BudgetError, match="10 tokens and the pool has 7: 3 missing"):
        fill(np.arange(2), _pool([3, 4]), Budget(10, "tokens"))
    with pytest.raises(BudgetError, match="no row fits a budget of 2 tokens: the shortest row has 3"):
        Allowance(_pool([3, 4]), Budget(2, "tokens"))
    with pytest.raises(BudgetError, match="5 examples and the pool has 2: 3 missing"):
        fill(np.arange(2), _pool([3, 4]), Budget(5))


def test_a_token_budget_without_good_token_counts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"budget\.unit=tokens needs features\.num_tokens"):
        Allowance(Features(size=2), Budget(2, "tokens"))
    with pytest.raises(ValueError, match="rows 1 are not"):
        fill(np.arange(3), _pool([3, -1, 2]), Budget(2, "tokens"))
    with pytest.raises(ValueError, match=r"shape \(2,\), the pool has 3 rows"):
        fill(np.arange(3), Features(size=3, num_tokens=np.array([1, 2])), Budget(2, "tokens"))


def test_a_row_is_taken_once() -> None:
    allowance = Allowance(Features(size=3), Budget(2))
    assert [allowance.take(1), allowance.take(1), allowance.met, allowance.take(0), allowance.met] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert allowance.unavailable().tolist() == [True, True, False]
