"""Pooling, against figures worked out by hand."""

from __future__ import annotations

import pytest
import torch

from siftune.selection.features.encoders.encoder import Pooling
from siftune.selection.features.encoders.pooling import pool, pooling_weights

# One feature; row 0 has three tokens, row 1 one token and two of padding, which must not count.
HIDDEN = torch.tensor([[[6.0], [3.0], [12.0]], [[5.0], [1e30], [float("nan")]]])
LENGTHS = torch.tensor([3, 1])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("position_weighted_mean", (6 * 1 + 3 * 2 + 12 * 3) / 6),
        ("mean", 7.0),
        ("last_token", 12.0),
    ],
)
def test_pooled_by_hand(pooling: Pooling, expected: float) -> None:
    assert pool(HIDDEN, LENGTHS, pooling)[:, 0].tolist() == [expected, 5.0]


def test_position_weights_are_t_over_their_sum() -> None:
    weights = pooling_weights(torch.tensor([4, 2]), 4, "position_weighted_mean")
    torch.testing.assert_close(weights, torch.tensor([[0.1, 0.2, 0.3, 0.4], [1 / 3, 2 / 3, 0, 0]]))


@pytest.mark.parametrize("pooling", ["position_weighted_mean", "mean", "last_token"])
def test_weights_sum_to_one_at_full_length(pooling: Pooling) -> None:
    sums = pooling_weights(torch.tensor([2048, 1, 777]), 2048, pooling).sum(1)
    torch.testing.assert_close(sums, torch.ones(3), rtol=1e-5, atol=0)


def test_weights_and_sums_are_float32_whatever_the_model_computes_in() -> None:
    hidden = torch.rand(1, 2000, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    pooled = pool(hidden, torch.tensor([2000]), "position_weighted_mean")
    position = torch.arange(1, 2001, dtype=torch.float64)
    expected = (position[:, None] / position.sum() * hidden[0].double()).sum(0).float()
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled[0], expected, rtol=1e-5, atol=0)
