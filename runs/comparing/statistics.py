"""Is a difference between two models, found on the same questions, more than the luck of the questions?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

BATCH = 2_000_000
"""Numbers drawn at a time for the resamples."""


def percentile_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentiles that hold the confidence between them."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def mcnemar(to_right: int, to_wrong: int) -> float:
    """McNemar's test, exact: the two-sided binomial p of the questions that only one of two models has right.

    McNemar 1947, Psychometrika 12; statsmodels' mcnemar(exact=True) gives the same.
    """
    from scipy.stats import binomtest

    flipped = to_right + to_wrong
    return float(binomtest(to_right, flipped, 0.5).pvalue) if flipped else 1.0


def sign_flips(net: np.ndarray) -> float:
    """McNemar's test for questions that were answered several times, e.g. by the models of several seeds.

    `net` (n,) int64: how often a question went from wrong to right, less how often from right to wrong. The answers to
    one question depend on each other, so it is the questions, not the answers, that under the null hypothesis keep or
    change their sign with probability 1/2. The distribution of their sum is computed exactly. With one answer a
    question this is `mcnemar`; with many questions it tends to Durkalski's clustered form of it (2003, Stat. Med. 22).
    """
    from scipy.stats import binom

    distribution = np.ones(1)
    sizes, counts = np.unique(np.abs(net[net != 0]), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        # The questions of one size: their sum lies on every (2 x size)-th number.
        spaced = np.zeros(2 * size * count + 1)
        spaced[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.convolve(distribution, spaced)
    sums = np.arange(len(distribution)) - len(distribution) // 2
    return min(1.0, float(distribution[np.abs(sums) >= abs(int(net.sum()))].sum()))


def wilcoxon(differences: np.ndarray) -> float:
    """The two-sided p of Wilcoxon's signed-rank test of (n,) paired differences, zeros left out; 1 if all are zero.

    scipy's: exact up to 50 differences without ties, above by the normal approximation.
    """
    from scipy.stats import wilcoxon as signed_rank

    kept = differences[differences != 0]
    return float(signed_rank(kept).pvalue) if len(kept) else 1.0


def p_value(improvement: np.ndarray, binary: bool) -> float:
    """Of (pairs, n) improvements: of the flips, summed over the pairs; of values, averaged over them."""
    return sign_flips(improvement.sum(axis=0).astype(np.int64)) if binary else wilcoxon(improvement.mean(axis=0))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979): what is below a level is significant at it in the whole family."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def paired_bootstrap(
    before: np.ndarray,
    after: np.ndarray,
    weights: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(resamples,) differences of the scores, each over n questions drawn with replacement, the same for both models.

    before, after: (n,) values of the questions; weights: (n,) their denominators. A score is `score` of the sum of
    values over the sum of weights.
    """
    columns = np.stack([before, after, weights], axis=1)
    batch = max(1, BATCH // len(columns))
    found = []
    for start in range(0, resamples, batch):
        drawn = rng.integers(len(columns), size=(min(batch, resamples - start), len(columns)))
        sums = columns[drawn].sum(axis=1)
        found.append(score(sums[:, 1] / sums[:, 2]) - score(sums[:, 0] / sums[:, 2]))
    return np.concatenate(found)
