"""Correlations of measures with quality: worked-out values, agreement with scipy, what has none and why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from siftune.runs.studies.statistics import (
    Estimate,
    Resampling,
    correlate,
    correlate_within,
    mean_of_z_scores,
    standardised,
)

FEW = Resampling(resamples=400, confidence=0.9, seed=3)
SIZES = ["32"] * 6 + ["64"] * 6


def pair(size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size)
    return values, values + rng.normal(size=size)


def numbers(estimate: Estimate | None) -> tuple[float, float, float]:
    assert estimate is not None
    return estimate.value, estimate.low, estimate.high


def test_quality_is_the_mean_of_z_scores_in_the_direction_of_better() -> None:
    accuracy, loss = [0.0, 1.0, 2.0], [5.0, 5.0, 2.0]
    z = np.array([-1.0, 0.0, 1.0]) * math.sqrt(1.5), np.array([1.0, 1.0, -2.0]) / math.sqrt(2)
    found = mean_of_z_scores(np.array([accuracy, loss]).T, [True, False])
    np.testing.assert_allclose(found, (z[0] - z[1]) / 2)


def test_a_benchmark_on_which_all_are_equal_counts_as_nothing() -> None:
    results = np.array([[0.1, 0.3], [0.1, 0.5], [0.1, 0.7]])
    np.testing.assert_allclose(mean_of_z_scores(results, [True, True]), standardised(results[:, 1]) / 2)


def test_rounding_is_no_variation() -> None:
    assert not standardised(np.array([0.1 + 0.2, 0.3, 0.3])).any()


def test_pearson_and_spearman_are_those_of_scipy_ties_included() -> None:
    values, quality = pair()
    values[3] = values[5]
    found = correlate(values, quality, FEW)
    assert numbers(found.pearson)[0] == pytest.approx(stats.pearsonr(values, quality).statistic)
    assert numbers(found.spearman)[0] == pytest.approx(stats.spearmanr(values, quality).statistic)
    assert found.subsets == 12
    assert found.note == ""


def test_intervals_are_those_of_scipys_paired_bootstrap() -> None:
    values, quality = pair()
    paired = stats.bootstrap(
        (values, quality),
        lambda left, right, axis: stats.pearsonr(left, right, axis=axis).statistic,
        paired=True,
        vectorized=True,
        n_resamples=FEW.resamples,
        confidence_level=FEW.confidence,
        method="BCa",
        rng=np.random.default_rng(FEW.seed),
    )
    low, high = paired.confidence_interval
    assert numbers(correlate(values, quality, FEW).pearson)[1:] == pytest.approx((low, high))


def test_the_seed_makes_the_interval() -> None:
    values, quality = pair()
    again = Resampling(resamples=400, confidence=0.9, seed=4)
    assert correlate(values, quality, FEW) == correlate(values, quality, FEW)
    assert correlate(values, quality, FEW) != correlate(values, quality, again)


@pytest.mark.parametrize(
    ("values", "quality", "note"),
    [
        ([1.0, math.nan, 2.0, math.inf], [1.0, 2.0, 3.0, 4.0], "no number for 2 of 4 subsets"),
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "the same for all subsets"),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], "the quality is the same for all subsets"),
        ([1.0, 2.0], [1.0, 2.0], "2 subsets are too few"),
    ],
)
def test_where_there_is_no_correlation_the_note_says_why(values: list[float], quality: list[float], note: str) -> None:
    found = correlate(np.array(values), np.array(quality), FEW)
    assert (found.pearson, found.spearman, found.note) == (None, None, note)


def test_within_sizes_the_size_does_not_count() -> None:
    # In each size the more diverse subsets are the worse; the larger size is more diverse and better.
    values = np.array([1.0, 2, 3, 4, 5, 6, 21, 22, 23, 24, 25, 26])
    quality = np.array([6.0, 5, 4, 3, 2, 1, 56, 55, 54, 53, 52, 51])
    assert numbers(correlate(values, quality, FEW).pearson)[0] > 0.9
    within = correlate_within(values, quality, SIZES, FEW)
    assert numbers(within.pearson)[0] == pytest.approx(-1)
    assert numbers(within.spearman)[0] == pytest.approx(-1)


def test_within_sizes_neither_scale_nor_place_of_a_size_counts() -> None:
    values, quality = pair()
    moved = np.concatenate([values[:6], 5 * values[6:] + 100])
    left, right = (correlate_within(x, quality, SIZES, FEW) for x in (values, moved))
    assert numbers(left.pearson) == pytest.approx(numbers(right.pearson))
    assert numbers(left.spearman)[0] == pytest.approx(numbers(right.spearman)[0])


def test_sizes_that_say_nothing_are_left_out_by_name() -> None:
    values, quality = pair(14)
    values[:6] = 3.0
    found = correlate_within(values, quality, [*SIZES, "128", "128"], FEW)
    alone = stats.pearsonr(values[6:12], quality[6:12]).statistic
    assert numbers(found.pearson)[0] == pytest.approx(alone)
    assert found.subsets == 6
    assert found.note == "32: the same for all subsets; 128: 2 subsets are too few"


def test_no_size_left_is_no_correlation() -> None:
    values, quality = pair(4)
    found = correlate_within(values, quality, ["32", "32", "64", "64"], FEW)
    assert (found.subsets, found.pearson) == (0, None)
    assert found.note == "32: 2 subsets are too few; 64: 2 subsets are too few"


def test_an_interval_that_does_not_exist_is_null_in_json() -> None:
    assert Estimate(1.0, math.nan, math.nan).to_json() == {"value": 1.0, "low": None, "high": None}
