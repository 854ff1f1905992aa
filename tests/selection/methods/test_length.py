from __future__ import annotations

import numpy as np
import pytest

from siftune.selection.interface import Budget, Features
from siftune.selection.methods.length import Longest

RNG = np.random.default_rng(0)


def test_longest_conversations_first_ties_to_the_lower_row() -> None:
    selection = Longest().select(Features(size=4, num_tokens=np.array([5, 9, 5, 7])), Budget(3), RNG)
    assert selection.indices.tolist() == [1, 3, 0]
    assert selection.gains.tolist() == [9, 7, 5]


def test_response_lengths_decide_where_they_are_known_and_whole_lengths_are_spent() -> None:
    features = Features(size=3, num_tokens=np.array([50, 10, 20]), num_response_tokens=np.array([4, 6, 5]))
    assert Longest().select(features, Budget(2), RNG).indices.tolist() == [1, 2]
    assert Longest().select(features, Budget(60, "tokens"), RNG).indices.tolist() == [1, 2]
    assert Longest().select(features, Budget(61, "tokens"), RNG).gains.tolist() == [6, 5]


def test_lengths_are_needed() -> None:
    with pytest.raises(ValueError, match=r"features\.num_tokens, which was not given"):
        Longest().select(Features(size=3), Budget(1), RNG)
    with pytest.raises(ValueError, match=r"features\.num_tokens has NaN or infinite values in rows 1"):
        Longest().select(Features(size=2, num_tokens=np.array([1.0, np.nan])), Budget(1), RNG)
