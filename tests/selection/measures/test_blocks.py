"""References in blocks: what is found in them is what is found at once, and they are as large as the limit allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siftune.selection.kernels import distinct
from siftune.selection.kernels.distinct import first_equal, is_first
from siftune.selection.measures.blocks import ReferenceRows, block_rows
from siftune.selection.measures.novelsum import novelsum_grid
from siftune.selection.measures.settings import MeasureSettings


def _whole_numbers(seed: int, count: int, dimension: int) -> np.ndarray:
    """With copies, zero rows and ties."""
    return np.round(np.random.default_rng(seed).standard_normal((count, dimension))).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(1, 70),
    st.integers(0, 9**9),
)
def test_nearest_distinct_rows(size: int, others: int, dimension: int, count: int, rows: int, seed: int) -> None:
    points, reference = _whole_numbers(seed, size, dimension), _whole_numbers(seed + 1, others, dimension)
    pool = np.unique(reference.astype(np.float64) + 0.0, axis=0)
    expected = np.sort(((points[:, None] - pool) ** 2).sum(axis=2), axis=1)[:, :count]
    found = ReferenceRows(reference).nearest_distinct(points, count, rows)
    np.testing.assert_array_equal(found[:, : expected.shape[1]], expected)
    assert np.isinf(found[:, expected.shape[1] :]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_novelsum_of_memory_mapped_blocks(dtype: type, tmp_path: Path) -> None:
    reference = np.concatenate([_whole_numbers(0, 300, 6), np.zeros((3, 6)), -np.zeros((2, 6))]).astype(dtype)
    np.save(tmp_path / "rows.npy", reference)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    points = np.concatenate([reference[:20], _whole_numbers(1, 20, 6)])
    at_once = novelsum_grid(points, reference)
    assert novelsum_grid(points, ReferenceRows(mapped), rows_at_once=41) == at_once


def test_first_of_equal_rows() -> None:
    points = _whole_numbers(0, 5000, 4)
    points[points == 0] *= np.random.default_rng(0).choice([-1, 1], (points == 0).sum())
    np.testing.assert_array_equal(is_first(points), first_equal(points) == np.arange(len(points)))


def test_rows_that_differ_are_not_equal_for_having_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_hash_rows", lambda rows, hashes: hashes.fill(7))
    np.testing.assert_array_equal(is_first(np.array([[1.0], [2.0], [1.0]])), [True, True, False])


def test_bad_references_are_named() -> None:
    with pytest.raises(ValueError, match=r"the reference has shape \(0, 3\)"):
        ReferenceRows(np.zeros((0, 3)))
    points = _whole_numbers(0, 5, 3)
    points[2, 1] = np.nan
    with pytest.raises(ValueError, match="rows 2"):
        ReferenceRows(points).nearest_distinct(points[:1], 2, 2)


def test_blocks_are_as_large_as_the_limit_allows() -> None:
    def rows(memory_gb: float, size: int = 10_000, reference: int = 400_000) -> int:
        return block_rows(MeasureSettings(memory_gb=memory_gb), size, 384, reference)

    # One GB more is 1e9 bytes of 12 for each of 384 entries.
    assert rows(2.0) - rows(1.0) == pytest.approx(1e9 / (12 * 384), abs=1)
    with pytest.raises(
        ValueError, match=r"measures.memory_gb=0.2 is too little for a set of 10,000 x 384 beside 400,000"
    ):
        rows(0.2)
    with pytest.raises(ValueError, match=r"1,000,000 x 384: raise it to 7\.22, or"):
        rows(1.0, size=1_000_000, reference=0)
    assert rows(7.22, size=1_000_000, reference=0) >= 2048
