"""Facility location and partition entropy: by hand, and scikit-learn's figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import pairwise_distances_argmin, pairwise_distances_argmin_min

from siftune.selection.measures.blocks import ReferenceRows
from siftune.selection.measures.coverage import facility_location, partition_entropy


def _vectors(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def test_facility_location_by_hand() -> None:
    reference = ReferenceRows(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [9.0, 0.0]], dtype=np.float32))
    points = np.array([[0.0, 0.0], [9.0, 2.0]], dtype=np.float32)
    # Copies in the reference count each.
    assert facility_location(points, reference) == pytest.approx(0 + 5 + 5 + 2)


@pytest.mark.parametrize("rows", [1, 37, 1000])
def test_scikit_learn_agrees_whatever_the_blocks(rows: int) -> None:
    reference, points = _vectors(400, 12), _vectors(50, 12, seed=1)
    _, distances = pairwise_distances_argmin_min(reference.astype(np.float64), points.astype(np.float64))
    assert facility_location(points, ReferenceRows(reference), rows=rows) == pytest.approx(distances.sum(), rel=1e-9)


def test_partition_entropy_by_hand() -> None:
    reference = ReferenceRows(np.repeat(np.array([[0.0], [10.0], [20.0], [30.0]], dtype=np.float32), 5, axis=0))
    cells = reference.clusters(4, 0, 20)
    assert partition_entropy(np.array([[1.0], [-1.0], [9.0], [29.0]]), cells) == pytest.approx(1.5)
    assert partition_entropy(np.array([[0.0], [10.0], [20.0], [30.0]]), cells) == pytest.approx(2)
    assert partition_entropy(np.array([[3.0], [2.0]]), cells) == 0


def test_partition_entropy_of_the_cells_scikit_learn_finds() -> None:
    cells = ReferenceRows(_vectors(500, 6)).clusters(12, 3, 20)
    points = _vectors(200, 6, seed=1)
    nearest = pairwise_distances_argmin(points.astype(np.float64), cells.centres)
    expected = entropy(np.bincount(nearest) / len(points), base=2)
    assert partition_entropy(points, cells) == pytest.approx(expected, rel=1e-9)


def test_cells_are_found_once() -> None:
    reference = ReferenceRows(_vectors(60, 3))
    assert reference.clusters(5, 0, 20) is reference.clusters(5, 0, 20)
    assert reference.clusters(5, 1, 20) is not reference.clusters(5, 0, 20)
    assert reference.clusters(5, 0, 1).iterations == 1
