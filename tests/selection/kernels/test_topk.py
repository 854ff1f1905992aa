from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.kernels import topk
from siftune.selection.kernels.topk import TopRows


def _best(exact: np.ndarray, depth: int) -> set[int]:
    return set(np.lexsort((np.arange(len(exact)), -exact))[:depth].tolist())


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 120),
    depth=st.integers(1, 40),
    distinct=st.integers(1, 50),
    block=st.integers(1, 60),
    tolerance=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_the_best_are_kept_whatever_the_rounding_of_the_screening_scores(
    seed: int, size: int, depth: int, distinct: int, block: int, tolerance: float
) -> None:
    """Ties and near-ties included: screening scores err at random by up to the tolerance."""
    rng = np.random.default_rng(seed)
    exact = rng.integers(0, distinct, (3, size)) / distinct
    screening = (exact + rng.uniform(-0.99, 0.99, exact.shape) * tolerance).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "_LEAST_ROOM", 4)
        kept = TopRows(depth, np.full(3, tolerance + 1e-6), lambda ranking, rows: exact[ranking, rows])
        for first in range(0, size, block):
            kept.add(first, screening[:, first : first + block])
    for ranking in range(3):
        rows, scores = kept.result(ranking)
        assert _best(exact[ranking], depth) <= set(rows.tolist())
        assert len(set(rows.tolist())) == len(rows)
        assert scores.tolist() == sorted(screening[ranking, rows].tolist(), reverse=True)
        assert not kept.complete(ranking) or len(rows) == size


def test_a_pool_of_copies_does_not_fill_the_memory() -> None:
    kept = TopRows(10, np.array([1e-3]), lambda ranking, rows: np.zeros(len(rows)))
    for first in range(0, 100_000, 8192):
        kept.add(first, np.zeros((1, min(8192, 100_000 - first)), dtype=np.float32))
    rows, _ = kept.result(0)
    assert len(rows) <= 10 + 4096
    assert set(range(10)) <= set(rows.tolist())


def test_rows_left_out_are_never_kept() -> None:
    scores = np.array([[0.1, -np.inf, 0.3]], dtype=np.float32)
    kept = TopRows(3, np.array([1e-6]), lambda ranking, rows: scores[ranking, rows])
    kept.add(5, scores)
    assert kept.result(0)[0].tolist() == [7, 5]
