"""Which rows an optimiser step sees."""

from __future__ import annotations

import numpy as np
import pytest

from siftune.finetune.batches import GlobalBatchSampler

LENGTHS = np.array([5, 3, 9, 1, 7, 7, 2, 8, 4, 6])


def sampler(batch: int = 4, multiple: int = 1, seed: int = 0) -> GlobalBatchSampler:
    return GlobalBatchSampler(LENGTHS, batch, multiple, seed)


def test_an_epoch_sees_every_row_once_in_whole_batches_sorted_by_length() -> None:
    batches = sampler().batches(0)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert sorted(row for batch in batches for row in batch) == list(range(10))
    assert all(np.all(np.diff(LENGTHS[batch]) <= 0) for batch in batches)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    assert sampler().batches(0) != sampler().batches(1)
    assert sampler(seed=1).batches(0) != sampler().batches(0)
    assert sampler().batches(3) == sampler().batches(3)


@pytest.mark.parametrize("multiple", [1, 2, 4])
def test_steps_see_the_same_rows_for_every_number_of_processes(multiple: int) -> None:
    drawn = list(sampler(multiple=multiple))
    assert [row for row in drawn if row < 10] == [row for batch in sampler().batches(0) for row in batch]


def test_an_incomplete_batch_is_filled_with_the_blank_row() -> None:
    filled = sampler(multiple=4)
    assert list(filled)[-2:] == [10, 10]
    assert len(list(filled)) == len(filled) == 12


def test_the_epoch_that_is_set_is_the_one_drawn() -> None:
    chosen = sampler()
    chosen.set_epoch(2)
    assert list(chosen) == [row for batch in sampler().batches(2) for row in batch]


def test_first_rows_go_round_as_often_as_needed() -> None:
    rows = sampler().first_rows(4)
    assert sampler().steps_per_epoch == 3
    assert sorted(rows[:10]) == list(range(10))
    assert rows[10:].tolist() == sampler().batches(1)[0]
