"""The tests of `siftune compare`: worked-out numbers, and what must hold for any."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import chi2

from siftune.evaluate.samples import score
from siftune.runs.comparing.statistics import (
    holm,
    mcnemar,
    paired_bootstrap,
    percentile_interval,
    sign_flips,
    wilcoxon,
)


def test_mcnemar_is_the_binomial_test_of_the_flips() -> None:
    # Of 12 fair coins at most 2 or at least 10 heads: 2 (1 + 12 + 66) / 4096.
    assert mcnemar(10, 2) == pytest.approx(158 / 4096)
    assert mcnemar(2, 10) == pytest.approx(158 / 4096)
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(0, 0) == 1.0


def test_mcnemar_is_exact_for_many_flips_too() -> None:
    tail = sum(comb(180, k) for k in range(60))
    assert mcnemar(121, 59) == pytest.approx(2 * tail / 2**180)


def test_sign_flips_with_one_answer_a_question_are_mcnemar() -> None:
    for to_right, to_wrong in product(range(6), repeat=2):
        net = np.array([1] * to_right + [-1] * to_wrong + [0] * 3, dtype=np.int64)
        assert sign_flips(net) == pytest.approx(mcnemar(to_right, to_wrong))


def test_sign_flips_of_several_answers_by_hand() -> None:
    # 2, 1 and -1 add up to 2. With any signs: 4, 2, 2, 0, 0, -2, -2, -4, of which 6 of 8 are as far from 0.
    assert sign_flips(np.array([2, 1, -1, 0])) == pytest.approx(6 / 8)
    # As one coin each, not as six flips in one direction.
    assert sign_flips(np.array([3, 3])) == pytest.approx(2 / 4)


@pytest.mark.parametrize("seed", range(5))
def test_sign_flips_are_all_signs_counted(seed: int) -> None:
    net = np.random.default_rng(seed).integers(-3, 4, size=9)
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, net, strict=True))) for signs in product((-1, 1), repeat=9)
    ]
    assert sign_flips(net) == pytest.approx(np.mean(np.array(sums) >= abs(net.sum())))


def test_sign_flips_of_many_questions_tend_to_the_clustered_chi_square() -> None:
    net = np.random.default_rng(0).choice([-2, -1, 0, 1, 2], size=4000, p=[0.1, 0.15, 0.46, 0.16, 0.13])
    statistic = net.sum() ** 2 / (net**2).sum()
    assert sign_flips(net) == pytest.approx(chi2.sf(statistic, 1), rel=0.1)


def test_wilcoxon_by_hand() -> None:
    # All 5 differences positive: 2 of the 2^5 assignments of signs are as extreme.
    assert wilcoxon(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.0])) == pytest.approx(2 / 32)
    assert wilcoxon(np.zeros(4)) == 1.0


def test_holm_by_hand() -> None:
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, none smaller than the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def resampled(before: np.ndarray, after: np.ndarray, weights: np.ndarray, metric: str = "acc") -> np.ndarray:
    rng = np.random.default_rng(0)
    return paired_bootstrap(before, after, weights, lambda mean: score(metric, mean), 4000, rng)


def test_the_bootstrap_draws_the_same_questions_for_both() -> None:
    values = np.random.default_rng(1).normal(size=50) * 10
    assert resampled(values, values + 0.5, np.ones(50)) == pytest.approx(np.full(4000, 0.5))


def test_the_bootstrap_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.normal(size=(2, 400))
    difference = after - before
    low, high = percentile_interval(resampled(before, after, np.ones(400)), 0.95)
    error = difference.std() / 400**0.5
    assert low == pytest.approx(difference.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(difference.mean() + 1.96 * error, abs=0.15 * error)


def test_the_bootstrap_of_a_ratio_weighs_documents_by_their_length() -> None:
    # Two documents of 1 and 3 bytes, 1 and 0 nats more: drawn twice the first, both, twice the second.
    found = resampled(np.zeros(2), np.array([1.0, 0.0]), np.array([1.0, 3.0]), "nats_per_byte")
    values, counts = np.unique(found, return_counts=True)
    assert values == pytest.approx([0.0, 0.25, 1.0])
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_scores_from_means() -> None:
    mean = np.array([0.0, 1.0])
    assert score("acc", mean) == pytest.approx([0.0, 1.0])
    assert score("bits_per_byte", mean) == pytest.approx([0.0, 1 / np.log(2)])
    assert score("word_perplexity", mean) == pytest.approx([1.0, np.e])
