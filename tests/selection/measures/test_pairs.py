"""Measures of distances: by hand, and scipy's and scikit-learn's figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import gmean
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from siftune.selection.kernels.kmeans import distinct_rows
from siftune.selection.measures import pairs
from siftune.selection.measures.novelsum import novelsum
from siftune.selection.measures.pairs import cluster_inertia, distsum_cosine, distsum_l2, knn_distance, radius
from siftune.selection.measures.undefined import UndefinedError


def _vectors(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dimension)) + rng.standard_normal(dimension)).astype(np.float32)


def test_by_hand() -> None:
    points = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, -4.0]])
    assert distsum_cosine(points) == pytest.approx((1 + 1 + 2) / 3)
    assert distsum_l2(points) == pytest.approx((5 + 5 + 8) / 3)
    assert knn_distance(points, neighbors=1) == pytest.approx((5, 5))
    assert knn_distance(points, neighbors=2) == pytest.approx(((5 + 8 + 8) / 3, (10 + 13 + 13) / 6))
    assert radius(points) == pytest.approx((2.0 * 32 / 3) ** 0.25)
    # The best two clusters: the nearest two rows, 5 apart, give 2 (5 / 2)^2.
    assert cluster_inertia(points, clusters=2, rng=np.random.default_rng(0)) == pytest.approx(12.5)


def test_scipy_and_scikit_learn_agree() -> None:
    points = _vectors(300, 20)
    wide = points.astype(np.float64)
    assert distsum_cosine(points) == pytest.approx(pdist(wide, "cosine").mean(), rel=1e-9)
    assert distsum_l2(points) == pytest.approx(pdist(wide).mean(), rel=1e-9)
    distances, _ = NearestNeighbors(n_neighbors=7).fit(wide).kneighbors()
    assert knn_distance(points, neighbors=7) == pytest.approx((distances[:, -1].mean(), distances.mean()), rel=1e-9)
    assert radius(points) == pytest.approx(gmean(wide.std(axis=0)), rel=1e-9)
    initial = distinct_rows(points, 9, np.random.default_rng(3))
    plain = KMeans(9, init=initial, n_init=1, tol=0, algorithm="lloyd").fit(wide)
    assert cluster_inertia(points, clusters=9, rng=np.random.default_rng(3)) == pytest.approx(plain.inertia_, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(1, 12), st.sampled_from([0.6, 5.0]), st.integers(0, 2**32 - 1))
def test_copies_zero_rows_and_ties(size: int, dimension: int, spread: float, seed: int) -> None:
    points = np.round(spread * np.random.default_rng(seed).standard_normal((size, dimension))).astype(np.float32)
    distances = np.sqrt(((points[:, None].astype(np.float64) - points) ** 2).sum(axis=2))
    others = ~np.eye(size, dtype=bool)
    assert distsum_l2(points) == pytest.approx(distances[others].mean(), abs=1e-9)
    nearest = np.sort(distances[others].reshape(size, size - 1), axis=1)[:, :3]
    assert knn_distance(points, neighbors=3) == pytest.approx((nearest[:, -1].mean(), nearest.mean()))
    # Mean cosine distance is NovelSum without densities and ranks.
    plain = novelsum(points, density_power=0, distance_power=0, include_self=False)
    assert distsum_cosine(points) == pytest.approx(plain, abs=1e-6)
    assert radius(points) == pytest.approx(
        np.exp(np.log(points.std(axis=0, dtype=np.float64) + 1e-300).mean()), abs=1e-9
    )


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    points = _vectors(100, 5)
    expected = distsum_l2(points)
    monkeypatch.setattr(pairs, "_ROWS_AT_ONCE", 7)
    assert distsum_l2(points) == pytest.approx(expected, rel=1e-12)


def test_rows_with_much_in_common_keep_their_digits() -> None:
    points = (_vectors(1, 30, seed=1) + np.float32(1e-3) * _vectors(60, 30)).astype(np.float32)
    wide = points.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    assert distsum_cosine(points) == pytest.approx((pdist(unit) ** 2).mean() / 2, rel=1e-6)
    assert distsum_l2(points) == pytest.approx(pdist(wide).mean(), rel=1e-9)


def test_identical_rows_are_at_no_distance() -> None:
    points = np.repeat(_vectors(1, 17), 200, axis=0)
    assert distsum_cosine(points) == pytest.approx(0, abs=1e-12)
    assert distsum_l2(points) == radius(points) == 0
    assert knn_distance(points) == (0, 0)
    assert cluster_inertia(points, clusters=10, rng=np.random.default_rng(0)) == 0
    assert distsum_cosine(np.zeros((5, 3))) == 0


def test_fewer_rows_than_neighbours_and_clusters() -> None:
    points = np.array([[0.0], [1.0], [3.0]], dtype=np.float32)
    assert knn_distance(points, neighbors=10) == pytest.approx(((3 + 2 + 3) / 3, (4 + 3 + 5) / 6))
    with pytest.raises(UndefinedError, match="3 clusters need more rows than 3"):
        cluster_inertia(points, clusters=3, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="neighbors=0"):
        knn_distance(points, neighbors=0)
    for measure in (distsum_cosine, distsum_l2, knn_distance, radius):
        with pytest.raises(UndefinedError, match="one row has no distance"):
            measure(points[:1])
