"""Batches of rows of like length."""

from __future__ import annotations

import numpy as np
import pytest

from siftune.selection.features.batching import MAX_PADDING, padded_positions, plan_batches


def test_longest_first_within_the_budget() -> None:
    batches = plan_batches([5, 20, 5, 19, 5], 40)
    assert [batch.tolist() for batch in batches] == [[1, 3], [0, 2, 4]]
    assert padded_positions([5, 20, 5, 19, 5], batches) == 2 * 20 + 3 * 5


def test_row_beyond_the_budget_is_alone() -> None:
    assert [batch.tolist() for batch in plan_batches([100, 99, 98], 10)] == [[0], [1], [2]]


def test_rows_of_unlike_length_are_not_padded_to_each_other() -> None:
    assert [batch.tolist() for batch in plan_batches([100, 89, 90], 10_000)] == [[0, 2], [1]]


@pytest.mark.parametrize("budget", [1, 64, 512, 100_000])
def test_plan_is_a_partition_with_little_padding(budget: int) -> None:
    lengths = np.random.default_rng(0).lognormal(4.7, 0.8, 512).astype(int).clip(1, 2048).tolist()
    batches = plan_batches(lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(512))
    for batch in batches:
        own = [lengths[i] for i in batch]
        assert len(batch) == 1 or len(batch) * max(own) <= budget
        assert min(own) >= (1 - MAX_PADDING) * max(own)
    assert 1 - sum(lengths) / padded_positions(lengths, batches) < MAX_PADDING / 2


def test_nothing_to_encode_is_no_batch() -> None:
    assert plan_batches([], 512) == []
