"""Weights of clusters out of their mean scores: worked-out values, and what holds whatever the scores."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from siftune.selection.kernels.cluster_weights import ClusterWeighting, mean_by_cluster, updated_weights

NAN = np.nan
LOG = np.log([1.0, 3.0, 4.0])
each_weighting = pytest.mark.parametrize("weighting", get_args(ClusterWeighting))


def _updated(weights: Any, means: Any, weighting: Any) -> list[float]:
    result: list[float] = updated_weights(np.array(weights), np.array(means), weighting).tolist()
    return result


def test_means_by_hand() -> None:
    means = mean_by_cluster(np.array([1.0, 2, NAN, 6, NAN]), np.array([0, 2, 2, 2, 3]), 5)
    np.testing.assert_array_equal(means, [1, NAN, 4, NAN, NAN])
    np.testing.assert_array_equal(mean_by_cluster(np.empty(0), np.empty(0, dtype=int), 2), [NAN, NAN])


def test_means_of_what_is_no_score_are_refused() -> None:
    with pytest.raises(ValueError, match="values at 1, 2 are infinite"):
        mean_by_cluster(np.array([0, np.inf, -np.inf]), np.array([0, 0, 1]), 2)
    with pytest.raises(ValueError, match="labels must be 0 to 1; those at 0, 2 are not"):
        mean_by_cluster(np.zeros(3), np.array([2, 1, -1]), 2)
    with pytest.raises(ValueError, match="3 values and 2 labels"):
        mean_by_cluster(np.zeros(3), np.zeros(2, dtype=int), 2)


def test_all_clusters_scored() -> None:
    """exp(s) = 1, 3, 4; w = .5, .25, .25: products .5, .75, 1 of 2.25."""
    weights = [0.5, 0.25, 0.25]
    np.testing.assert_allclose(_updated(weights, LOG, "softmax_product"), [2 / 9, 3 / 9, 4 / 9], rtol=1e-15)
    np.testing.assert_allclose(_updated(weights, LOG, "softmax"), [1 / 8, 3 / 8, 4 / 8], rtol=1e-15)
    # w * s = .5, .75, -: 0.
    np.testing.assert_allclose(_updated(weights, [1.0, 3, -2], "ratio"), [0.4, 0.6, 0.0], rtol=1e-15)


def test_a_cluster_without_a_score_keeps_its_weight() -> None:
    """0.3 is kept, 0.7 shared 1 : 3 (softmax of log 1, log 3), as 4 : 9 with the weights 0.4, 0.3."""
    weights, means = [0.3, 0.4, 0.3], [NAN, 0.0, np.log(3)]
    softmax = _updated(weights, means, "softmax")
    product = _updated(weights, means, "softmax_product")
    ratio = _updated(weights, [NAN, 1.0, 3.0], "ratio")
    np.testing.assert_allclose(softmax, [0.3, 0.175, 0.525], rtol=1e-15)
    np.testing.assert_allclose(product, [0.3, 0.7 * 4 / 13, 0.7 * 9 / 13], rtol=1e-15)
    np.testing.assert_allclose(ratio, product, rtol=1e-15)
    assert softmax[0] == product[0] == ratio[0] == 0.3


@each_weighting
def test_nothing_scored_changes_nothing(weighting: ClusterWeighting) -> None:
    assert _updated([0.1, 0.9], [NAN, NAN], weighting) == [0.1, 0.9]


def test_no_positive_score_leaves_the_ratio_as_it_is() -> None:
    assert _updated([0.1, 0.2, 0.7], [-1.0, 0, NAN], "ratio") == [0.1, 0.2, 0.7]
    assert _updated([0.0, 0.3, 0.7], [1.0, -1, NAN], "ratio") == [0.0, 0.3, 0.7]


def test_scores_of_any_size_and_weights_of_zero() -> None:
    assert _updated([0.5, 0.5, 0.0], [-1e300, 1e300, 0], "softmax") == [0, 1, 0]
    assert _updated([0.0, 0.5, 0.5], [1e300, -5000, -5000], "softmax_product") == [0, 0.5, 0.5]
    assert _updated([0.0, 1.0], [3.0, NAN], "softmax_product") == [0, 1]
    np.testing.assert_allclose(_updated([0.5, 0.5], [1e308, 1e308], "ratio"), [0.5, 0.5])
    np.testing.assert_allclose(_updated([1e-300, 1.0], [690.0, -690], "softmax_product"), [1, 0], atol=1e-290)


@each_weighting
@given(data=st.data(), count=st.integers(1, 12))
def test_a_distribution_whatever_the_scores(weighting: ClusterWeighting, data: st.DataObject, count: int) -> None:
    drawn = data.draw(arrays(np.float64, count, elements=st.floats(0, 1)))
    weights = drawn / drawn.sum() if drawn.sum() > 1e-300 else np.full(count, 1 / count)
    means = data.draw(arrays(np.float64, count, elements=st.floats(-1e6, 1e6) | st.just(NAN)))
    updated = updated_weights(weights, means, weighting)
    assert (updated >= 0).all()
    assert updated.sum() == pytest.approx(1, abs=1e-12)
    unscored = np.isnan(means)
    assert updated[unscored].tolist() == weights[unscored].tolist()


@given(
    weights=arrays(np.float64, 5, elements=st.floats(0.01, 1)),
    means=arrays(np.float64, 5, elements=st.floats(-20, 20)),
    by=st.floats(-20, 20),
)
def test_the_product_goes_by_differences_of_scores(weights: np.ndarray, means: np.ndarray, by: float) -> None:
    """Equal scores change nothing, a shift of all neither, and a better score never loses against a worse one."""
    weights = weights / weights.sum()
    np.testing.assert_allclose(updated_weights(weights, np.full(5, by), "softmax_product"), weights, rtol=1e-12)
    updated = updated_weights(weights, means, "softmax_product")
    np.testing.assert_allclose(updated_weights(weights, means + by, "softmax_product"), updated, rtol=1e-10)
    growth = (updated / weights)[np.argsort(means)]
    assert (np.diff(growth) >= -1e-12 * growth.max()).all()


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="weighting='square' is not one of softmax_product, softmax, ratio"):
        _updated([1.0], [0.0], "square")
    with pytest.raises(ValueError, match=r"weights sum to 0\.75"):
        _updated([0.5, 0.25], [0.0, 1], "softmax")
    with pytest.raises(ValueError, match="not negative; those at 1 are not"):
        _updated([1.5, -0.5], [0.0, 1], "softmax")
    with pytest.raises(ValueError, match=r"shape \(2,\) and means \(1,\)"):
        _updated([0.5, 0.5], [0.0], "softmax")
    with pytest.raises(ValueError, match="mean scores of clusters 1 are infinite"):
        _updated([0.5, 0.5], [0.0, np.inf], "softmax")
